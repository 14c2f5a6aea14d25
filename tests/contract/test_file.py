"""The file provider: what it reads, and what it says of what is missing."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from contract.files import aged, all_that_hangs_on, answer, answers, mount, provider, writer
from keyturn.model.errors import AccessDenied, Invalid, NotFound, ProviderError, Rejected, Unavailable
from keyturn.model.material import SourceRef
from keyturn.model.order import FileFormat
from keyturn.model.sensitive import Sensitive
from keyturn.providers import file_sources

JSON, YAML, DOTENV = FileFormat.JSON, FileFormat.YAML, FileFormat.DOTENV
DOCUMENTS = {JSON: '{"a": "kt-canary-a", "b": 1.10}', YAML: "a: kt-canary-a\nb: 1.10\n", DOTENV: "a=kt-canary-a\nb='1.10'\n"}


@pytest.mark.parametrize("content", [b"kt-canary-x\n", b"", b"\x00\xff", b"kt-canary-" + b"x" * 1000])
async def test_a_file_in_a_folder_is_taken_byte_by_byte(tmp_path: Path, content: bytes):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "key").write_bytes(content)
    assert await answer(provider(tmp_path), "deep/key") == content


async def test_one_mebibyte_is_taken_and_one_byte_more_is_invalid(tmp_path: Path):
    (tmp_path / "fits").write_bytes(b"x" * (1 << 20))
    (tmp_path / "not").write_bytes(b"x" * ((1 << 20) + 1))
    found = await answers(provider(tmp_path), "fits", "not")
    assert found["fits"] == b"x" * (1 << 20)
    assert isinstance(found["not"], Invalid)


async def test_a_mounted_volume_is_read_through_its_links(tmp_path: Path):
    mount(tmp_path, "1", {"user": b"kt-canary-u1", "tls/key": b"kt-canary-k1"})
    source = provider(tmp_path)
    assert await answers(source, "user", "tls/key") == {"user": b"kt-canary-u1", "tls/key": b"kt-canary-k1"}
    mount(tmp_path, "2", {"user": b"kt-canary-u2", "tls/key": b"kt-canary-k2"})
    assert await answers(source, "user", "tls/key") == {"user": b"kt-canary-u2", "tls/key": b"kt-canary-k2"}
    assert sorted([meta.key async for meta in source.list()]) == ["tls/key", "user"]


@pytest.mark.parametrize("key", ["missing", "deep/missing", "there/below-a-file", "missing/deep", "dangling"])
async def test_a_key_that_is_not_in_its_folder_is_not_found(tmp_path: Path, key: str):
    (tmp_path / "there").write_bytes(b"kt-canary-x")
    (tmp_path / "deep").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert isinstance(await answer(provider(tmp_path), key), NotFound)


@pytest.mark.parametrize("file_format", DOCUMENTS)
async def test_a_document_gives_its_members_and_misses_what_it_has_not(tmp_path: Path, file_format: FileFormat):
    (tmp_path / "doc").write_text(DOCUMENTS[file_format])
    aged(tmp_path / "doc")
    source = provider(tmp_path, "doc", file_format)
    found = await answers(source, "a", "b", "c")
    assert (found["a"], found["b"]) == (b"kt-canary-a", b"1.10")
    assert isinstance(found["c"], NotFound)
    assert sorted([meta.key async for meta in source.list()]) == ["a", "b"]


async def gone(source: object, *keys: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await answers(source, *keys)  # type: ignore[arg-type]  # a provider
    return caught.value


@pytest.mark.parametrize("file_format", FileFormat)
async def test_a_root_or_path_that_is_away_is_an_outage_and_never_gone(tmp_path: Path, file_format: FileFormat):
    for root in (tmp_path, tmp_path / "root"):
        source = provider(root, "shop/app", file_format)
        assert isinstance(await gone(source, "a"), Unavailable)
        with pytest.raises(Unavailable):
            await source.validate()
        with pytest.raises(Unavailable):
            [meta async for meta in source.list()]


async def test_an_empty_folder_is_an_outage_since_its_volume_may_not_be_mounted(tmp_path: Path):
    assert isinstance(await answer(provider(tmp_path), "key"), Unavailable)


@pytest.mark.parametrize("file_format", DOCUMENTS)
@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfe", b"\x00" * 8])
async def test_a_document_that_is_empty_or_no_text_is_invalid_and_never_gone(tmp_path: Path, file_format: FileFormat, content: bytes):
    (tmp_path / "doc").write_bytes(content)
    source = provider(tmp_path, "doc", file_format)
    assert isinstance(await gone(source, "a"), Invalid)
    with pytest.raises(Invalid):
        await source.validate()


@pytest.mark.parametrize("file_format", [JSON, YAML])
async def test_a_document_that_is_half_written_is_invalid_and_says_nothing_of_its_content(tmp_path: Path, file_format: FileFormat):
    (tmp_path / "doc").write_text('{"a": "kt-canary-a",\n "b": "kt-can')
    error = await gone(provider(tmp_path, "doc", file_format), "a")
    assert isinstance(error, Invalid)
    assert "(line 2)" in str(error)
    assert "kt-can" not in all_that_hangs_on(error)


async def test_a_key_that_a_fresh_document_lacks_is_an_outage_since_it_may_be_half_written(tmp_path: Path):
    (tmp_path / "doc").write_text("a=kt-canary-a\n")
    source = provider(tmp_path, "doc", DOTENV)
    assert isinstance(await answer(source, "b"), Unavailable)
    aged(tmp_path / "doc", 1.0)
    assert isinstance(await answer(source, "b"), NotFound)


@pytest.mark.parametrize("file_format", DOCUMENTS)
async def test_a_document_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: FileFormat):
    parsed = []
    parse = file_sources.parse
    monkeypatch.setattr(file_sources, "parse", lambda *args: parsed.append(1) or parse(*args))
    document = tmp_path / "doc"
    document.write_text(DOCUMENTS[file_format])
    aged(document)
    source = provider(tmp_path, "doc", file_format)
    for _ in range(3):
        assert await answer(source, "a") == b"kt-canary-a"
    assert len(parsed) == 1
    document.write_text(DOCUMENTS[file_format].replace("canary-a", "canary-B"))
    aged(document)  # the same size, and the clock put back: only inode and ctime can tell
    for _ in range(3):
        assert await answer(source, "a") == b"kt-canary-B"
    assert len(parsed) == 2


async def test_two_changes_within_one_tick_of_the_clock_are_both_seen(tmp_path: Path):
    document = tmp_path / "doc"
    source = provider(tmp_path, "doc", DOTENV)
    for number in range(100):
        document.write_text(f"a=kt-canary-{number:03}\n")
        assert await answer(source, "a") == f"kt-canary-{number:03}".encode()


async def test_a_fingerprint_stays_until_the_file_changes(tmp_path: Path):
    aged_file = tmp_path / "a"
    aged_file.write_bytes(b"kt-canary-1")
    aged(aged_file)
    (tmp_path / "other").write_bytes(b"kt-canary-2")
    source = provider(tmp_path)

    async def fingerprints() -> dict[str, str]:
        return {meta.key: meta.fingerprint async for meta in source.list()}

    before = await fingerprints()
    assert before["a"] == (await fingerprints())["a"]
    aged_file.write_bytes(b"kt-canary-3")
    aged(aged_file)
    after = await fingerprints()
    assert before["a"] != after["a"]
    aged(tmp_path / "other", 1.0)
    assert after["other"].endswith("-young")


async def test_a_list_knows_prefixes_and_deep_folders_and_survives_loops(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"kt-canary-1")
    (tmp_path / "d").write_bytes(b"kt-canary-2")
    (tmp_path / "a" / "b" / "loop").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "..hidden").write_bytes(b"kt-canary-3")
    os.mkfifo(tmp_path / "fifo")
    source = provider(tmp_path)
    assert sorted([meta.key async for meta in source.list()]) == ["a/b/c", "d"]
    assert [meta.key async for meta in source.list("a/")] == ["a/b/c"]


async def test_a_pinned_version_is_invalid_since_there_are_none(tmp_path: Path):
    (tmp_path / "key").write_bytes(b"kt-canary-x")
    ref, pinned = SourceRef("key"), SourceRef("key", "7")
    found = await provider(tmp_path).get_many([ref, pinned])
    assert set(found) == {ref, pinned}
    assert "no versions but those that are kept with access: ReadWrite, and read with it" in str(found[pinned])
    (tmp_path / "doc").write_text(DOCUMENTS[JSON])
    assert str((await provider(tmp_path, "doc", JSON).get_many([pinned]))[pinned]) == "key: files have no versions; leave version out"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("/x", "'/x' is no path beneath the provider's folder; write names with one '/' between them"),
        ("x//y", "'x//y' is no path beneath the provider's folder; write names with one '/' between them"),
        ("..x", "begin no part of it with '..'"),
        ("deep", "deep is a folder; name a file in it, such as deep/NAME"),
        ("fifo", "fifo is no regular file: whoever made it is the one who writes it"),
    ],
)
async def test_what_a_writer_says_of_a_name_is_what_is_wrong_with_it(tmp_path: Path, key: str, told: str) -> None:
    (tmp_path / "deep").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Invalid) as refused:
        await writer(tmp_path).put(key, Sensitive.of("kt-canary-x"), token="0" * 32)
    assert told in str(refused.value)


async def test_a_root_is_no_document(tmp_path: Path):
    with pytest.raises(Rejected, match=r"spec\.provider\.file\.path"):
        provider(tmp_path, ".", JSON)


@pytest.mark.parametrize("file_format", DOCUMENTS)
async def test_a_folder_is_no_document_and_a_document_no_folder(tmp_path: Path, file_format: FileFormat):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"kt-canary-x")
    assert isinstance(await gone(provider(tmp_path, "folder", file_format), "a"), Invalid)
    assert isinstance(await gone(provider(tmp_path, "file"), "a"), Invalid)


async def test_what_the_operator_may_not_read_is_denied(unprivileged: Path):
    source, document = provider(unprivileged), provider(unprivileged, "doc", DOTENV)
    assert await answer(source, "open") == b"kt-canary-x"
    assert isinstance(await answer(source, "key"), AccessDenied)
    assert isinstance(await gone(document, "a"), AccessDenied)
    assert isinstance(await gone(provider(unprivileged, "folder"), "a"), AccessDenied)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder with files that its reader may not open, also where the tests run as root."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "folder").mkdir(0o700)
        for file, mode in (("key", 0), ("doc", 0), ("open", 0o644)):
            (folder / file).write_bytes(b"kt-canary-x")
            (folder / file).chmod(mode)
        was_root = os.geteuid() == 0
        (folder / "folder").chmod(0o700 if was_root else 0)
        if was_root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if was_root:
                os.seteuid(0)
            (folder / "folder").chmod(0o700)
