"""`keyturn audit verify --file` as an auditor runs it: exported rows, the public key, and checkpoints that were kept; no database."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.decide.auditrow import read_entry, row_of
from keyturn.decide.hashchain import START, chained
from keyturn.model.audit import Head
from store.places import Place
from store.test_checkpoints import filled
from store.test_verify_command import VKEY, keyturn


async def exported(place: Place, tmp_path: Path, *part: str) -> tuple[Path, list[Path]]:
    """Rows of a trail in a file, and its three checkpoints, of rows 5, 10 and 15, in one each."""
    _, signed = await filled(place)
    code, told = await keyturn(place, "export", "-o", str(path := tmp_path / "rows.jsonl"), *part)
    assert code == 0, told
    notes = []
    for each in signed:
        notes.append(tmp_path / f"row-{each.checkpoint.head.seq}.txt")
        notes[-1].write_text(each.note)
    return path, notes


def forge(path: Path, seq: int) -> None:
    """As whoever has the file and our code: another row, and every hash after it anew."""
    header, *lines = path.read_text().splitlines()
    rows = []
    for line in lines:
        number, texts = read_entry(json.dumps(json.loads(line)["entry"], ensure_ascii=False, separators=(",", ":")).encode()) or (0, {})
        row = row_of(texts)
        rows.append(replace(row, target="Secret/shop/harmless") if number == seq else row)
    first = json.loads(header)
    head = Head(first["first"] - 1, bytes.fromhex(first["before"])) if first["first"] > 1 else START
    made = (
        f'{{"entry":{each.entry.decode()},"hash":"{each.hash.hex()}","seal":null,"seal_key":""}}' for each in chained(rows, head, None, "")
    )
    path.write_text("\n".join((header, *made)) + "\n")


async def verify(place: Place, path: Path, *more: object) -> tuple[int, str]:
    return await keyturn(replace_url(place), "verify", "--file", str(path), *map(str, more))


def replace_url(place: Place) -> Place:
    return replace(place, url="sqlite:////nowhere/keyturn.db")


async def test_rows_that_were_made_anew_are_found_by_a_checkpoint_that_was_kept(place: Place, tmp_path: Path) -> None:
    path, notes = await exported(place, tmp_path)
    code, told = await verify(place, path, "--key", VKEY, "--checkpoint", notes[1])
    assert (code, told.splitlines()[1]) == (0, f"signed to row 10, by {VKEY}"), told
    await asyncio.to_thread(forge, path, 6)
    code, told = await verify(place, path)
    assert (code, "signatures were not checked: give a checkpoint" in told) == (0, True), told
    code, told = await verify(place, path, "--key", VKEY, "--checkpoint", notes[1])
    assert (code, "row 10: it is not the one that row-10.txt was signed of: the chain was made anew" in told) == (1, True), told
    code, told = await verify(place, path, "--key", VKEY, "--checkpoint", notes[0])
    assert (code, f"signed to row 5, by {VKEY}" in told) == (0, True), told


async def test_a_checkpoint_of_a_row_that_is_elsewhere_is_named_and_proves_nothing(place: Place, tmp_path: Path) -> None:
    path, notes = await exported(place, tmp_path, "--from", "6", "--to", "12")
    code, told = await verify(place, path, "--key", VKEY, "--checkpoint", notes[2])
    assert (code, "no row is signed" in told) == (0, True), told
    assert "row-15.txt is of row 15, which is not in the file" in told
    code, told = await verify(place, path, "--key", VKEY, *(word for note in notes for word in ("--checkpoint", note)))
    assert (code, f"signed to row 10, by {VKEY}" in told) == (0, True), told
    path.write_text(path.read_text().replace('"before":"', '"before":"00', 1).replace('"before":"00', '"before":"', 1))
    await asyncio.to_thread(rebased, path)
    code, told = await verify(place, path, "--key", VKEY, "--checkpoint", notes[0])
    assert (code, "row 5: the rows do not follow the one that row-5.txt was taken of" in told) == (1, True), told


def rebased(path: Path) -> None:
    """On a row before it that never was."""
    header, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps(json.loads(header) | {"before": "ab" * 32}) + "\n" + "".join(rest))
    forge(path, 0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--key", VKEY.replace("A", "B", 1)), "--key"),
        (("--key", "vkeyy"), "--key names no file that is there, and must be a public key"),
        (("--segments", "."), "--segments goes with a database"),
    ],
)
async def test_what_proves_nothing_is_refused(place: Place, tmp_path: Path, given: tuple[str, ...], told: str) -> None:
    path, _ = await exported(place, tmp_path)
    code, said = await verify(place, path, *given)
    assert (code > 0, told in said, "vkeyy" in said) == (True, True, False), said


async def test_a_checkpoint_in_yaml_or_by_another_key_is_refused_with_what_helps(place: Place, tmp_path: Path) -> None:
    path, notes = await exported(place, tmp_path)
    code, told = await verify(place, path, "--checkpoint", notes[0])
    assert (code, "give that key with --key" in told) == (1, True), told
    (tmp_path / "cm.yaml").write_text("apiVersion: v1\ndata:\n  note: x\nkind: ConfigMap\n")
    code, told = await verify(place, path, "--key", VKEY, "--checkpoint", tmp_path / "cm.yaml")
    assert (code, "cm.yaml is YAML; get the ConfigMap in JSON" in told) == (1, True), told


async def test_what_can_be_read_only_once_is_no_file(place: Place, tmp_path: Path) -> None:
    path, _ = await exported(place, tmp_path)
    os.mkfifo(pipe := tmp_path / "pipe")
    code, told = await verify(place, pipe)
    assert (code, "pipe is no regular file" in told, "Success" in told) == (1, True, False), told
    (tmp_path / "link").symlink_to(path)
    assert (await verify(place, tmp_path / "link"))[0] == 0
