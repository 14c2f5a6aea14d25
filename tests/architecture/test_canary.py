"""The canary finds what it is there for: leaks on purpose (tests/canary/planted.py), run as any test is run."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from canary.planted import ENCODINGS, SINKS

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What each test of the file failed with, '' where it passed."""
    report = tmp_path_factory.mktemp("planted") / "report.xml"
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(TESTS / "canary" / "planted.py")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(asked, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 1, ran.stdout[-2000:]
    cases = ET.parse(report).iter("testcase")
    return {case.attrib["name"]: "".join(problem.text or "" for problem in (*case.iter("error"), *case.iter("failure"))) for case in cases}


@pytest.mark.parametrize("sink", SINKS)
def test_a_leak_is_found_in_each_encoding(sink: str, outcomes: Mapping[str, str]) -> None:
    found = {encoding: outcomes[f"test_leak[{sink}-{encoding}]"] for encoding in ENCODINGS}
    assert [encoding for encoding, told in found.items() if "leaked into" not in told or "'db-password'" not in told] == []


def test_a_value_that_is_written_out_is_found_too(outcomes: Mapping[str, str]) -> None:
    assert "leaked into log record of keyturn.planted: 'a value of a fixture', base64" in outcomes["test_literal"]


def test_a_value_without_its_beginning_is_found(outcomes: Mapping[str, str]) -> None:
    assert "leaked into log record of keyturn.planted: 'db-password', raw" in outcomes["test_piece"]


def test_a_value_where_it_may_be_is_no_leak(outcomes: Mapping[str, str]) -> None:
    assert outcomes["test_clean"] == ""
