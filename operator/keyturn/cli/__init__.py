"""The command line. Each command's code is imported when it is called, so that ``keyturn --help`` is quick."""

import importlib
import os
import sys
from traceback import walk_tb

import click

from keyturn import __version__
from keyturn.model.errors import KeyturnError

_COMMANDS = {
    "run": ("keyturn.cli.run", "Run the operator."),
    "get": ("keyturn.cli.secrets", "Print a secret of the default provider."),
    "set": ("keyturn.cli.secrets:put", "Store a value at the default provider."),
    "release": ("keyturn.cli.release", "Let go of all Secrets, before CRDs are deleted."),
    "audit": ("keyturn.cli.audit", "Follow the audit trail, or ask it who did what."),
    "db": ("keyturn.cli.db", "Make the tables of the database, or bring them up to date."),
    "keys": ("keyturn.cli.keys", "Look at and change the master key of the database."),
    "version": ("keyturn.cli.version", "Say which version this is."),
    # Without a text, so not listed: tools of the build, which nobody who uses Keyturn needs.
    "crds": ("keyturn.cli.crds", ""),
    "reasons": ("keyturn.cli.reasons", ""),
    "settings": ("keyturn.cli.settings", ""),
    "metrics": ("keyturn.cli.metrics", ""),
}


class Lazy(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, _: click.Context) -> list[str]:
        return sorted(name for name, (_, text) in _COMMANDS.items() if text)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, *attribute = _COMMANDS[name][0].split(":")
        command = getattr(importlib.import_module(module), *attribute or (name,))
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keyturn")
def cli() -> None:
    """Keyturn brings secrets from where they are kept into Kubernetes Secrets."""


def main() -> None:
    """The entry point: exit codes 0, 1 failure, 2 usage; an error of ours is told in one line."""
    try:
        cli()
    except KeyturnError as error:
        _drop_output()
        click.echo(f"keyturn: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        # Of what a command does itself nothing is hidden: that would be a mistake of ours.
        if not any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__)):
            raise
        _drop_output()
        click.echo(f"keyturn: standard output cannot be written: {os.strerror(error.errno or 0)}", err=True)
        sys.exit(1)


def _drop_output() -> None:
    """Lets go of what standard output does not take: the end of the process would try again, and complain."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__ = ["cli", "main"]
