"""docs/from-external-secrets.md names fields that there are, and says of those that are not built that they are not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.kube.crds import schema
from keyturn.model.ids import Kind
from pages import ROOT

PAGE = (ROOT / "docs" / "from-external-secrets.md").read_text()
_SPAN = re.compile(r"`([^`]*)`")
_PATH = re.compile(r"\w+(?:\[\])?(?:\.\w+(?:\[\])?)*")


def rows() -> Iterator[tuple[str, str, str]]:
    """Each field that a table names as ours: the path that its table begins with, the field, and the remark beside it."""
    base = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 3:
            base = base if line.startswith("|") else ""
        elif cells[1].startswith("Keyturn: "):
            base = _SPAN.findall(cells[1])[0]
        elif base:
            yield from ((base, span, cells[2]) for span in _SPAN.findall(cells[1]) if _PATH.fullmatch(span))


ROWS = list(rows())


def field(base: str, path: str) -> dict[str, Any] | None:
    """What the schema of one of the kinds says of it."""
    for kind in (Kind.MANAGED_SECRET, Kind.CLUSTER_SECRET_PROVIDER):
        node: dict[str, Any] | None = schema(kind)
        for step in f"{base}.{path}".split("."):
            node = (node or {}).get("properties", {}).get(step.removesuffix("[]"))
            node = node["items"] | {"description": node["description"]} if node and step.endswith("[]") else node
        if node:
            return node
    return None


@pytest.mark.parametrize(("base", "path", "remark"), ROWS)
def test_a_field_that_the_page_names_is_there(base: str, path: str, remark: str) -> None:
    found = field(base, path)
    assert found is not None
    if re.search("[Nn]ot in this version", found["description"]) and path != "dataFrom[].providerRef":
        assert "not in this version" in remark


def test_the_page_has_the_fields_of_every_provider_that_eso_has_too() -> None:
    bases = {base for base, _, _ in ROWS}
    members = "awsSecretsManager", "azureKeyVault", "googleSecretManager", "hashicorpVault"
    assert bases == {"spec", *(f"spec.provider.{member}" for member in members)}
    for member in members:
        base = f"spec.provider.{member}"
        top = {path.partition(".")[0] for of, path, _ in ROWS if of == base}
        of_ours_alone = {"awsSecretsManager": {"endpoint"}}.get(member, set())
        assert top == (field("spec.provider", member) or {})["properties"].keys() - of_ours_alone
