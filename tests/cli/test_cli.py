"""What the command line says and how it ends, as a shell sees it: nothing here reaches a cluster."""

import base64
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from controlplane.servers import LOOPBACK
from keyturn import __version__
from keyturn.cli import cli
from keyturn.cli.run import run
from pages import Shell

Json = dict[str, Any]

NOWHERE = f"https://{LOOPBACK}:1"


def kubeconfig(cluster: Mapping[str, Any] | None = None, user: Mapping[str, Any] | None = None, **top: Any) -> Json:
    """A sound one, which leads nowhere, but for what is given."""
    return {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": NOWHERE} | dict(cluster or {})}],
        "users": [{"name": "me", "user": {"token": "any"} if user is None else dict(user)}],
    } | top


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


HELP = """\
Usage: keyturn [OPTIONS] COMMAND [ARGS]...

  Keyturn brings secrets from where they are kept into Kubernetes Secrets.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  audit    Follow the audit trail, or ask it who did what.
  db       Make the tables of the database, or bring them up to date.
  get      Print a secret of the default provider.
  keys     Look at and change the master key of the database.
  release  Let go of all Secrets, before CRDs are deleted.
  run      Run the operator.
  set      Store a value at the default provider.
  version  Say which version this is.
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("keyturn -h", HELP),
        ("keyturn --help", HELP),
        (f"{sys.executable} -m keyturn version", f"keyturn {__version__}\n"),
        ("keyturn version", f"keyturn {__version__}\n"),
        ("keyturn --version", f"keyturn, version {__version__}\n"),
    ],
)
def test_it_says_what_it_can_do_and_what_it_is(shell: Shell, script: str, said: str) -> None:
    ended = shell.run(script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, said, "")


def test_without_a_command_it_says_what_there_is_and_fails(shell: Shell) -> None:
    ended = shell.run("keyturn")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.strip() == HELP.strip()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("keyturn rnu", "No such command 'rnu'."),
        ("keyturn --loud version", "--loud"),
        ("keyturn version now", "Got unexpected extra argument (now)"),
        ("keyturn run --relist-period 10", "'--relist-period' (env var: 'KEYTURN_RELIST_PERIOD'): is not a duration; write a Go duration"),
        ("keyturn run --relist-period 5", "; write 5s if seconds are meant"),
        ("keyturn run --stop-grace 1d", "'--stop-grace' (env var: 'KEYTURN_STOP_GRACE'): is not a duration; write a Go duration"),
        ("keyturn run --workers 0", "'--workers' (env var: 'KEYTURN_WORKERS'): 0 is not in the range 1<=x<=256."),
        ("KEYTURN_LOG_LEVEL=loud keyturn run", "(env var: 'KEYTURN_LOG_LEVEL'): 'loud' is not one of 'debug', 'info', 'warning', 'error'."),
        ("KEYTURN_STALE_FLOOR=5 keyturn run", "(env var: 'KEYTURN_STALE_FLOOR'): is not a duration; write a Go duration"),
    ],
)
def test_a_call_that_is_wrong_says_what_and_where_help_is(shell: Shell, script: str, said: str) -> None:
    ended = shell.run(script)
    assert (ended.returncode, ended.stdout) == (2, "")
    usage, hint, *_, error = ended.stderr.splitlines()
    assert usage.startswith("Usage: keyturn")
    assert hint.startswith("Try 'keyturn")
    assert said in error


@pytest.mark.parametrize("words", ["keyturn ''", "keyturn r"])
def test_a_shell_can_complete_commands_and_flags(shell: Shell, words: str) -> None:
    assert "complete -o nosort -F _keyturn_completion keyturn" in shell.run("_KEYTURN_COMPLETE=bash_source keyturn").stdout
    ended = shell.run(f'COMP_WORDS="{words}" COMP_CWORD=1 _KEYTURN_COMPLETE=bash_complete keyturn')
    offered = {line.partition(",")[2] for line in ended.stdout.splitlines()}
    every = {"audit", "db", "get", "keys", "release", "run", "set", "version"}
    assert offered == ({"release", "run"} if words.endswith("r") else every)
    flags = shell.run('COMP_WORDS="keyturn run --wor" COMP_CWORD=2 _KEYTURN_COMPLETE=bash_complete keyturn')
    assert flags.stdout == "plain,--workers\n"


@pytest.mark.parametrize("tool", ["crds", "reasons", "settings", "metrics"])
def test_tools_of_the_build_are_there_and_not_listed(shell: Shell, tool: str) -> None:
    assert shell.run(f"keyturn {tool} --help").returncode == 0
    assert tool not in HELP


BROKEN: dict[str, tuple[object, str]] = {
    "no file": (None, "No such file or directory"),
    "a folder": (..., "Is a directory"),
    "no YAML": ("[", "this is no YAML"),
    "no text": (b"\xff\xfe\xff", "this is no YAML"),
    "no kubeconfig": ("one", "this is no kubeconfig"),
    "nothing in it": ({}, "there is no context ''"),
    "an unknown context": (kubeconfig() | {"current-context": "two"}, "there is no context 'two'"),
    "contexts that are none": (kubeconfig(contexts=5), "there is no context 'one'"),
    "an unknown cluster": (kubeconfig(clusters=[]), "there is no cluster 'here'"),
    "an unknown user": (kubeconfig(users=None), "there is no user 'me'"),
    "plain http": (kubeconfig({"server": "http://localhost"}), "the server of context one must be https://HOST or https://HOST:PORT"),
    "no host": (kubeconfig({"server": "https://"}), "the server of context one must be https://HOST or https://HOST:PORT"),
    "no port": (kubeconfig({"server": "https://a:99999"}), "the server of context one must be https://HOST or https://HOST:PORT"),
    "a plug-in": (
        kubeconfig(user={"exec": {"command": "gke"}}),
        "user me logs in by a plug-in; give it a token, tokenFile or client certificate",
    ),
    "no base64": (kubeconfig({"certificate-authority-data": "***"}), "certificate-authority-data is no base64"),
    "no CA": (kubeconfig({"certificate-authority": "gone.crt"}), "certificate-authority: No such file or directory"),
    "no certificate": (kubeconfig({"certificate-authority-data": encoded("one")}), "certificate-authority holds no PEM certificate"),
    "no key pair": (
        kubeconfig(user={"client-certificate-data": encoded("one"), "client-key-data": encoded("two")}),
        "client-certificate and client-key are no pair in PEM",
    ),
    "no token file": (kubeconfig(user={"tokenFile": "gone"}), "tokenFile: No such file or directory"),
    "a token of other letters": (kubeconfig(user={"token": "größe"}), "the token is none: it holds other characters than ASCII"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN)
def test_a_kubeconfig_that_is_of_no_use_is_one_line_with_its_name(shell: Shell, content: object, said: str) -> None:
    path = shell.folder / "kubeconfig"
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())
    ended = shell.run("keyturn run --kubeconfig=kubeconfig")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"keyturn: kubeconfig kubeconfig: {said}\n")


@pytest.mark.parametrize("command", ["run", "release -A"])
def test_a_context_that_is_not_there_is_named(shell: Shell, command: str) -> None:
    (shell.folder / "kubeconfig").write_text(json.dumps(kubeconfig()))
    ended = shell.run(f"keyturn {command} --kubeconfig=kubeconfig --context=two")
    assert (ended.returncode, ended.stderr) == (1, "keyturn: kubeconfig kubeconfig: there is no context 'two'\n")


def test_the_operator_never_takes_a_users_own_kubeconfig_unless_it_is_named(shell: Shell) -> None:
    (shell.folder / ".kube").mkdir(exist_ok=True)
    (shell.folder / ".kube" / "config").write_text(json.dumps(kubeconfig()))
    ended = shell.run("HOME=$PWD keyturn run")
    assert ended.returncode == 1
    assert ended.stderr.startswith("keyturn: no cluster: ")
    assert "--kubeconfig FILE" in ended.stderr


@pytest.mark.parametrize("how", ["HOME=$PWD", "KUBECONFIG=$PWD/.kube/config:$PWD/other"])
def test_a_command_of_a_person_takes_the_kubeconfig_that_kubectl_takes(shell: Shell, how: str) -> None:
    (shell.folder / ".kube").mkdir(exist_ok=True)
    (shell.folder / ".kube" / "config").write_text(json.dumps(kubeconfig()))
    ended = shell.run(f"{how} keyturn release -A")
    assert (ended.returncode, "no answer from the API server" in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    "flag", ["--relist-period", "--check-period", "--stale-floor", "--conflict-window", "--reference-poll-period", "--full-read-period"]
)
def test_a_period_of_nothing_is_refused(shell: Shell, flag: str) -> None:
    ended = shell.run(f"keyturn run {flag}=0")
    assert (ended.returncode, "write 1s or more" in ended.stderr) == (2, True)


def test_an_empty_namespace_is_not_all_of_them(shell: Shell) -> None:
    ended = shell.run("keyturn run --namespace=''")
    assert (ended.returncode, "names none" in ended.stderr) == (2, True)


@pytest.mark.parametrize("address", ["{taken}", "somewhere", "127.0.0.1:port"])
def test_a_health_address_that_cannot_be_listened_on_is_named(shell: Shell, address: str) -> None:
    (shell.folder / "kubeconfig").write_text(json.dumps(kubeconfig()))
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = address.format(taken=f"{LOOPBACK}:{taken.getsockname()[1]}")
        ended = shell.run(f"keyturn run --kubeconfig=kubeconfig --audit=log --health-address={address}")
    assert (ended.returncode, ended.stdout) == (1, "")
    [*log, last] = ended.stderr.splitlines()
    assert last.startswith(f"keyturn: cannot listen on {address} (")
    assert last.endswith("choose a free HOST:PORT with --health-address")
    assert [json.loads(line)["level"] for line in log] == ["info"]


SETTINGS = [option for option in run.params if isinstance(option, click.Option)]
GIVEN = {"addresses": "10.1.0.0/16", "duration": "90s", "integer range": "3", "boolean": "true", "text": "one"}


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: str(option.name))
def test_a_setting_by_its_environment_twin_is_the_same_as_by_its_flag(option: click.Option, monkeypatch: pytest.MonkeyPatch) -> None:
    [flag] = option.opts
    other = [choice for choice in option.type.choices if choice != option.default] if isinstance(option.type, click.Choice) else []
    value = other[0] if other else GIVEN[option.type.name]
    by_flag = run.make_context("run", [flag] if option.is_flag else [flag, value]).params
    named = f"KEYTURN_{flag.removeprefix('--').replace('-', '_').upper()}"
    assert isinstance(option.envvar, str)
    assert option.envvar in ({named, f"{named}S", f"{named}ES"} if option.multiple else {named})
    monkeypatch.setenv(option.envvar, value)
    assert run.make_context("run", []).params == by_flag
    monkeypatch.delenv(option.envvar)
    assert run.make_context("run", []).params != by_flag


def test_help_names_every_setting_with_its_twin() -> None:
    with click.Context(cli) as parent:
        shown = " ".join(run.make_context("run", [], parent=parent).get_help().split())
    for option in SETTINGS:
        assert option.opts[0] in shown
        assert f"[env var: {option.envvar}" in shown
        assert option.help
