"""Every setting can be set, by a flag of `keyturn run` and by its KEYTURN_ twin alike."""

import os
from dataclasses import fields
from typing import Any

import click
import pytest
from click.testing import CliRunner

from keyturn import app, telemetry
from keyturn.cli import cli
from keyturn.cli.run import run
from keyturn.settings import Settings

FLAGS = {option.opts[0]: option for option in run.params if isinstance(option, click.Option)}
SET = [name for name in os.environ if name.startswith("KEYTURN_")]  # by whoever runs the tests
OTHERWISE_OF = {"--lease-duration": "12s", "--lease-renew-deadline": "6s", "--lease-retry-period": "3s"}  # these are held together
OTHERWISE_OF |= {"--audit": "best-effort", "--audit-repair": "off"}
OTHERWISE = {"boolean": "true", "choice": "debug", "integer range": "7", "duration": "7s", "addresses": "10.1.0.0/16", "text": "other"}

SEVERAL = {"addresses": ("public", "10.1.0.0/16")}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that the operator was started with."""
    found: list[Settings] = []

    async def started(settings: Settings) -> None:
        found.append(settings)

    monkeypatch.setattr(app, "run", started)
    monkeypatch.setattr(telemetry, "set_up_logs", lambda _: None)
    return found


def changed(settings: Settings) -> set[str]:
    defaults = Settings()
    return {field.name for field in fields(Settings) if getattr(settings, field.name) != getattr(defaults, field.name)}


def start(taken: list[Settings], *arguments: str, **environment: str) -> set[str]:
    """The fields that differ from their defaults when the operator is started so."""
    ran = CliRunner().invoke(cli, ["run", *arguments], env=dict.fromkeys(SET) | environment, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return changed(taken.pop())


def other(option: click.Option) -> str:
    """A value that is not the default."""
    return OTHERWISE_OF.get(option.opts[0]) or OTHERWISE[option.type.name]


def flag(name: str) -> list[str]:
    return [name] if FLAGS[name].is_flag else [f"{name}={other(FLAGS[name])}"]


def twin(name: str) -> str:
    envvar: Any = FLAGS[name].envvar
    assert isinstance(envvar, str)
    assert envvar.startswith("KEYTURN_")
    return envvar


def test_without_flags_the_defaults_hold(taken: list[Settings]) -> None:
    assert start(taken) == set()


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_and_its_twin_set_one_and_the_same_field(name: str, taken: list[Settings]) -> None:
    by_flag, by_twin = start(taken, *flag(name)), start(taken, **{twin(name): other(FLAGS[name])})
    assert len(by_flag) == 1
    assert by_twin == by_flag


def test_every_field_has_a_flag(taken: list[Settings]) -> None:
    assert set().union(*(start(taken, *flag(name)) for name in FLAGS)) == {field.name for field in fields(Settings)}


def test_times_of_the_lease_that_contradict_are_refused_by_name(taken: list[Settings]) -> None:
    for flags in (["--lease-retry-period=7s"], ["--lease-duration=8s"], ["--lease-renew-deadline=9s"]):
        refused = CliRunner().invoke(cli, ["run", *flags], env=dict.fromkeys(SET))
        assert refused.exit_code == 2
        assert flags[0].partition("=")[0] in refused.output
    assert taken == []


@pytest.mark.parametrize("name", FLAGS)
def test_help_tells_of_a_flag_and_its_twin(name: str) -> None:
    told = CliRunner().invoke(cli, ["run", "--help"], terminal_width=1000).output
    of_each = {part.split()[0]: part for part in f"\n{told}".split("\n  --")[1:]}
    assert f"env var: {twin(name)}" in of_each[name.removeprefix("--")]


@pytest.mark.parametrize("name", [name for name, option in FLAGS.items() if option.multiple])
def test_a_twin_takes_several_values_with_commas(name: str, taken: list[Settings]) -> None:
    one, two = SEVERAL.get(FLAGS[name].type.name, ("one", "two"))
    CliRunner().invoke(cli, ["run", f"{name}={one}", f"{name}={two}"], catch_exceptions=False)
    CliRunner().invoke(cli, ["run"], env={twin(name): f"{one},{two}"}, catch_exceptions=False)
    by_flags, by_twin = taken
    assert by_flags == by_twin
