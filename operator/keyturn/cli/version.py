"""``keyturn version``."""

import click

from keyturn import __version__


@click.command()
def version() -> None:
    """Say which version this is."""
    click.echo(f"keyturn {__version__}")
