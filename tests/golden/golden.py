"""Texts that others read, kept beside the tests: a change of one shows in review. ``UPDATE_GOLDEN=1`` writes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def assert_golden(name: str, text: str) -> None:
    """The text is what the file holds."""
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert path.exists(), f"{name} is not there yet: UPDATE_GOLDEN=1 writes it"
    assert text == path.read_text(), f"if the change is meant, UPDATE_GOLDEN=1 writes {name} anew"
