"""The CRDs in crds/ are what the models give, and keep the rules that all our schemas keep."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from keyturn.cli.crds import crds
from keyturn.kube.crds import HASH_ANNOTATION, crd, file_name, schema, schema_hash
from keyturn.model.ids import Kind
from keyturn.model.parse_refs import NOT_BUILT
from manifests.slips import SLIPS, Slip

ROOT = Path(__file__).parents[2]
STATUS_DEFAULT = {"observedGeneration": -1}

Node = dict[str, Any]
kinds = pytest.mark.parametrize("kind", Kind)


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every field, list item and map value of a schema, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if below in node:
            yield from nodes(node[below], f"{path}[]")


def test_the_command_writes_the_files_that_are_checked_in(tmp_path: Path) -> None:
    again = tmp_path / "again"
    result = CliRunner().invoke(crds, ["--out", str(tmp_path), "--out", str(again), "--docs", str(tmp_path / "api.md")])

    assert result.exit_code == 0, result.output
    made = {path.name: path.read_text() for path in tmp_path.glob("keyturn.dev_*.yaml")}
    assert made == {path.name: path.read_text() for path in (ROOT / "crds").glob("keyturn.dev_*.yaml")}, "run make crds"
    assert made == {path.name: path.read_text() for path in again.iterdir()}
    assert (tmp_path / "api.md").read_text() == (ROOT / "docs" / "api.md").read_text(), "run make crds"


@kinds
def test_a_file_is_the_crd_and_holds_no_yaml_alias(kind: Kind) -> None:
    text = (ROOT / "crds" / file_name(kind)).read_text()

    assert yaml.safe_load(text) == crd(kind)
    assert "&id" not in text


@kinds
def test_every_field_has_a_description_of_its_own(kind: Kind) -> None:
    silent = [path for path, node in nodes(schema(kind)) if not path.endswith("[]") and path != ".metadata" and not node.get("description")]

    assert silent == []


@kinds
def test_every_string_list_map_is_bounded(kind: Kind) -> None:
    # The API server bounds metadata, apiVersion and kind itself.
    spec_and_status = ((path, node) for path, node in nodes(schema(kind)) if path.startswith((".spec", ".status")))
    unbounded = [path for path, node in spec_and_status if not _is_bounded(node)]

    assert unbounded == []


def _is_bounded(node: Node) -> bool:
    if node.get("x-kubernetes-int-or-string"):
        return "maxLength" in node
    match node["type"]:
        case "string":
            return "maxLength" in node or "enum" in node
        case "array":
            return "maxItems" in node
        case "object":
            return "properties" in node or "maxProperties" in node
        case _:
            return True


@kinds
def test_a_reference_that_may_leave_out_its_key_says_which_one_is_meant(kind: Kind) -> None:
    references = {path: node for path, node in nodes(schema(kind)) if node.get("properties", {}).keys() == {"name", "key", "namespace"}}
    loose = {path: node for path, node in references.items() if "key" not in node["required"]}

    assert [path for path, node in loose.items() if "Default key: " not in node["description"]] == []
    assert [path for path, node in references.items() if path not in loose and "Default key: " in node["description"]] == []
    assert kind is Kind.MANAGED_SECRET or (len(references) > 20 and len(loose) > 5)


def described(node: Node, path: str) -> str:
    """All that `kubectl explain` prints on the way to a field."""
    told = []
    for step in re.findall(r"[^.\[\]]+", path):
        node = node["items"] if step.isdecimal() else node["properties"].get(step) or node["additionalProperties"]
        told.append(node.get("description", ""))
        if "additionalProperties" in node:
            break
    return " ".join(told)


@pytest.mark.parametrize("slip", [slip for slip in SLIPS if NOT_BUILT in slip.says], ids=str)
def test_explain_says_of_a_field_that_it_is_not_in_this_version(slip: Slip) -> None:
    path = slip.where or slip.path
    told = described(schema(slip.kind)["properties"]["spec"], path)
    assert re.search(r"[Nn]ot in this\s+version", told), told
    listed = (ROOT / "README.md").read_text().partition("What is not in this version")[2].partition("\n\n|")[0]
    assert re.sub(r"^data\[0\]\.|\.(labels|annotations)\[.*", "", path) in listed


@kinds
def test_nothing_is_defaulted_but_the_status(kind: Kind) -> None:
    assert {path: node["default"] for path, node in nodes(schema(kind)) if "default" in node} == {".status": STATUS_DEFAULT}


@kinds
def test_schemas_are_structural_and_closed(kind: Kind) -> None:
    for path, node in nodes(schema(kind)):
        assert not node.keys() & {"$ref", "anyOf", "oneOf", "nullable", "x-kubernetes-preserve-unknown-fields", "title"}, path
        assert not any(key.startswith("x-keyturn") for key in node), path


@kinds
def test_every_rule_says_what_to_do(kind: Kind) -> None:
    remedies = (
        "add",
        "keep",
        "remove",
        "write",
        "rename",
        "use",
        "correct",
        "choose",
        "set",
        "let ",
        "make",
        "shorten",
        "needed",
        "change",
    )
    for path, node in nodes(schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule.keys() == {"rule", "message"}, path
            assert any(word in rule["message"] for word in remedies), rule["message"]


@kinds
def test_conditions_are_a_list_map_by_type(kind: Kind) -> None:
    conditions = schema(kind)["properties"]["status"]["properties"]["conditions"]

    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@kinds
def test_uninstalling_a_chart_keeps_the_crd(kind: Kind) -> None:
    assert crd(kind)["metadata"]["annotations"] == {
        "argocd.argoproj.io/sync-options": "Prune=false",
        "helm.sh/resource-policy": "keep",
        HASH_ANNOTATION: schema_hash(kind),
    }


def test_references_name_a_namespace_in_the_cluster_kind_only() -> None:
    refused = "namespace is for a ClusterSecretProvider"
    held = {
        kind: sum(
            rule["message"].startswith(refused) for _, node in nodes(schema(kind)) for rule in node.get("x-kubernetes-validations", ())
        )
        for kind in Kind
    }

    assert held[Kind.SECRET_PROVIDER] > 20
    assert held[Kind.CLUSTER_SECRET_PROVIDER] == held[Kind.MANAGED_SECRET] == 0


def test_the_hash_follows_the_schema_and_not_its_words() -> None:
    assert len({schema_hash(kind) for kind in Kind}) == len(Kind)
    assert not any("description" in node for _, node in nodes(schema(Kind.MANAGED_SECRET, described=False)))
