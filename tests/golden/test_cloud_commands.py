"""The commands for a cloud's side that the docs show are well formed, ask AWS for what it has, and fit the examples."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
import yaml
from botocore import xform_name

from keyturn.model.ids import Kind
from keyturn.model.parse import parse_managed_secret, parse_provider
from pages import ROOT, blocks

PAGES = [ROOT / "docs" / "operator-identity.md", *(ROOT / "docs" / "providers" / f"{cloud}.md" for cloud in ("aws", "azure", "google"))]
SCRIPTS = [pytest.param(block, id=f"{page.stem}{i}") for page in PAGES for i, block in enumerate(blocks(page, "bash"))]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
_HEREDOC = re.compile(r"<<EOF\n(.*?)\nEOF\n", re.DOTALL)
_VARIABLE = re.compile(r"\$\{[^}]*\}|\$[A-Z]+")
_SHELL = {"query", "output", "region"}  # what the aws command itself takes


def commands(script: str, program: str) -> Iterator[list[str]]:
    """Each call of a program, also those that stand within another."""
    text = _HEREDOC.sub("\n", script.replace("\\\n", " "))
    for line in text.splitlines():
        for found in re.findall(rf"(?:^|\$\()({program} [^)#]*)", line):
            yield shlex.split(found.replace('"', " ") if found.count('"') % 2 else found)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_shell_finds_nothing_wrong(script: str) -> None:
    shellcheck = Path(sys.prefix) / "bin" / "shellcheck"
    done = subprocess.run([shellcheck, "--shell=bash", "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_policy_is_json_and_names_no_more_than_it_should(script: str) -> None:
    for text in _HEREDOC.findall(script):
        policy = json.loads(_VARIABLE.sub("x", text))
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            everybody = statement.get("Principal") in ("*", {"AWS": "*"})
            assert not everybody
            assert statement.get("Resource") != "*" or statement["Action"] == "secretsmanager:BatchGetSecretValue"


def test_aws_has_each_command_and_each_option() -> None:
    session = botocore.session.get_session()
    seen = set()
    for _, service, name, *words in (found for page in PAGES for block in blocks(page, "bash") for found in commands(block, "aws")):
        model = session.get_service_model(service)
        [operation] = [each for each in model.operation_names if xform_name(each, "-") == name]
        options = {word[2:].partition("=")[0] for word in words if word.startswith("--")} - _SHELL
        members = model.operation_model(operation).input_shape
        assert options <= {xform_name(member, "-") for member in (members.members if members else ())}, name
        needed = {xform_name(member, "-") for member in (members.required_members if members else ())}
        assert needed <= options | {"client-request-token"}, name
        seen.add(name)
    assert {"create-role", "put-role-policy", "create-open-id-connect-provider", "create-pod-identity-association"} <= seen


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_sed_replaces_stands_in_the_example(script: str) -> None:
    for line in script.replace("\\\n", " ").splitlines():
        if line.startswith("sed "):
            words = shlex.split(line.partition("|")[0])
            text = (ROOT / words[-1]).read_text()
            for rule in (word for word in words if word.startswith("s") and word[1:2] in "/,"):
                assert re.search(rule.split(rule[1])[1], text), rule


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_operator_takes_an_example_as_the_api_server_does(example: Path) -> None:
    made = [document for document in yaml.safe_load_all(example.read_text()) if document["apiVersion"].startswith("keyturn.dev/")]
    for document in made:
        kind = Kind(document["kind"])
        if kind is Kind.MANAGED_SECRET:
            parse_managed_secret(document["metadata"]["name"], document["spec"], strict=True)
        else:
            parse_provider(kind, document["spec"], document["metadata"].get("namespace", ""), strict=True)
    assert {document["kind"] for document in made} & {"SecretProvider", "ClusterSecretProvider"}
    assert "ManagedSecret" in {document["kind"] for document in made}
