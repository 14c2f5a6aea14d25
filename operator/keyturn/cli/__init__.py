"""The command line. Each command's code is imported when it is called, so that ``keyturn --help`` is quick."""

import importlib
import sys

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
        click.echo(f"keyturn: {error}", err=True)
        sys.exit(1)


__all__ = ["cli", "main"]
