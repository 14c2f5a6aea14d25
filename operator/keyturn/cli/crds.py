"""``keyturn crds``: writes the CustomResourceDefinitions and the page of fields. A tool of the build; it asks no cluster."""

from pathlib import Path

import click

from keyturn.cli.needs import need


@click.command("crds", hidden=True)
@click.option("--out", "folders", multiple=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write the CRDs to.")
@click.option("--docs", "page", type=click.Path(dir_okay=False, path_type=Path), help="File to write the page of all fields to.")
def crds(folders: tuple[Path, ...], page: Path | None) -> None:
    """Write the CRDs that this version of Keyturn works with."""
    need("operator", "keyturn crds")
    from keyturn.kube import crd_page
    from keyturn.kube import crds as made
    from keyturn.model.ids import Kind

    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in Kind:
            (folder / made.file_name(kind)).write_text(made.as_yaml(kind), encoding="utf-8")
    if page:
        page.write_text(crd_page.page(), encoding="utf-8")
