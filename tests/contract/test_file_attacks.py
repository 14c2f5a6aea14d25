"""Nothing leads out of a file provider's folder, nothing holds it up, and nothing fills its memory."""

import errno
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from contract.files import answer, answers, in_shop, provider
from keyturn.model.errors import Invalid, Rejected
from keyturn.model.order import FileFormat
from keyturn.providers import beneath, file_sources

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("opener")]  # each meets both ways of opening


@pytest.mark.parametrize(
    "key",
    [
        "../secret", "../../secret", "x/../../secret", "inside/../../secret", "./inside", "inside/", "//inside", "..", ".", "", "/",
        "/etc/passwd", "/proc/self/environ", "inside\0", "\0", "../neighbour/secret", "\udcff\ud800", "a//b",
    ],
)  # fmt: skip
async def test_a_key_that_is_no_plain_path_is_invalid(shop: Path, key: str):
    assert isinstance(await answer(in_shop(shop), key), Invalid)


@pytest.mark.parametrize("path", ["../secret", "shop/../secret", "/etc/passwd", "/proc/self", "..", "shop/../../secret"])
@pytest.mark.parametrize("file_format", FileFormat)
def test_a_path_that_leads_out_of_the_root_is_rejected(shop: Path, path: str, file_format: FileFormat):
    with pytest.raises(Rejected):
        in_shop(shop, path, file_format)


@pytest.mark.parametrize(
    "target",
    [
        "../secret", "../../secret", "../neighbour/secret", "/proc/self/environ", "/etc/passwd", "../../../../../../../../etc/passwd",
        "/proc/self/root/etc/passwd", "/dev/zero", "/proc/self/fd/0", "link",
    ],
)  # fmt: skip
async def test_a_link_out_of_the_folder_is_invalid_as_file_folder_and_on_the_way(shop: Path, target: str):
    (shop / "link").symlink_to(target)
    (shop / "hop").symlink_to("link")
    (shop / "..data").symlink_to(Path(target).parent)
    (shop / "mounted").symlink_to(f"..data/{Path(target).name}")
    found = await answers(in_shop(shop), "link", "hop", "mounted", "inside")
    assert found.pop("inside") == b"kt-canary-inside"
    assert {key: type(value) for key, value in found.items()} == dict.fromkeys(found, Invalid)
    assert [meta.key async for meta in in_shop(shop).list()] == ["inside"]


async def test_an_absolute_link_is_invalid_even_to_a_file_of_the_folder(shop: Path):
    (shop / "link").symlink_to(shop / "inside")
    assert isinstance(await answer(in_shop(shop), "link"), Invalid)


async def test_links_that_stay_inside_are_followed(shop: Path):
    (shop / "deep" / "er").mkdir(parents=True)
    (shop / "deep" / "er" / "up").symlink_to("../../inside")
    (shop / "down").symlink_to("deep/./er/../er/up")
    assert await answer(in_shop(shop), "down") == b"kt-canary-inside"


async def test_a_link_of_the_path_itself_may_lead_elsewhere_in_the_root_and_not_out(shop: Path):
    (shop.parent / "alias").symlink_to("shop")
    (shop.parent / "out").symlink_to("..")
    (shop.parent / "absolute").symlink_to("/etc")
    assert await answer(in_shop(shop, "alias"), "inside") == b"kt-canary-inside"
    for path in ("out", "absolute", "alias/../../.."):
        with pytest.raises((Invalid, Rejected)):
            await answer(in_shop(shop, path), "secret")


@pytest.mark.parametrize("target", ["../neighbour/secret", "../../secret", "/etc/hostname", "/proc/self/environ"])
async def test_a_document_that_is_a_link_out_of_its_folder_is_invalid(shop: Path, target: str):
    (shop / "doc").symlink_to(target)
    with pytest.raises(Invalid):
        await answer(in_shop(shop, "shop/doc", FileFormat.DOTENV), "a")


async def test_a_link_into_a_closed_folder_of_the_root_is_invalid(shop: Path):
    root = shop.parent
    (root / "open").symlink_to("neighbour")
    with pytest.raises(Invalid, match="folders of the system or of the operator"):
        await answer(provider(root, "open", closed=(str(root / "neighbour"),)), "secret")


async def test_a_root_that_is_a_link_to_system_folders_is_invalid(tmp_path: Path):
    (tmp_path / "root").symlink_to("/proc/self")
    with pytest.raises(Invalid, match="folders of the system"):
        await answer(provider(tmp_path / "root"), "environ")


def test_magic_links_are_not_followed(opener: beneath.Opener):
    here = os.open("/proc/self", os.O_PATH)
    try:
        for path in ("exe", "cwd", "root/etc/passwd", "fd/0", "../self/exe"):
            with pytest.raises(OSError) as caught:
                os.close(opener(here, path, beneath.FLAGS))
            assert caught.value.errno in {errno.ELOOP, errno.EXDEV}
    finally:
        os.close(here)


async def test_what_is_no_regular_file_is_invalid_and_holds_nobody_up(shop: Path):
    os.mkfifo(shop / "fifo")
    (shop / "folder").mkdir()
    (shop / "link-to-fifo").symlink_to("fifo")
    (shop / "link-to-folder").symlink_to("folder")
    folder = os.open(shop, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/socket")  # the folder's own path may be too long for a socket
        os.close(folder)
        found = await answers(in_shop(shop), "fifo", "folder", "link-to-fifo", "link-to-folder", "socket")
    assert {key: type(value) for key, value in found.items()} == dict.fromkeys(found, Invalid)


@pytest.mark.parametrize("name", ["zero", "null", "full", "urandom"])
def test_a_device_is_invalid(name: str):
    devices = os.open("/dev", os.O_PATH)
    try:
        with pytest.raises(Invalid, match="no regular file"):
            file_sources._read(devices, name)
    finally:
        os.close(devices)


async def test_a_fifo_is_no_document(shop: Path):
    os.mkfifo(shop / "doc")
    with pytest.raises(Invalid):
        await answer(in_shop(shop, "shop/doc", FileFormat.JSON), "a")


@pytest.mark.parametrize("file_format", FileFormat)
async def test_a_huge_file_is_invalid_before_it_is_read(shop: Path, file_format: FileFormat):
    with (shop / "huge").open("wb") as huge:
        huge.truncate(1 << 34)  # sparse: no disk is used
    began = time.process_time()
    if file_format is FileFormat.DIRECTORY:
        assert isinstance(await answer(in_shop(shop), "huge"), Invalid)
    else:
        with pytest.raises(Invalid):
            await answer(in_shop(shop, "shop/huge", file_format), "a")
    assert time.process_time() - began < 1.0


def test_a_file_that_lies_about_its_size_is_read_no_further_than_the_limit():
    # Files of /proc say that they are empty, and are not; a FUSE mount can do the same without end.
    read, write = os.pipe()
    try:
        filler = threading.Thread(target=_fill, args=(write,))
        filler.start()
        with pytest.raises(Invalid, match="larger than 1 MiB"):
            file_sources.read_all(read, 0, "endless")
    finally:
        os.close(read)
        filler.join(10)


def _fill(descriptor: int) -> None:
    try:
        while True:
            os.write(descriptor, b"x" * 65536)
    except BrokenPipeError:
        os.close(descriptor)


def test_the_kernel_way_is_taken_where_the_kernel_has_it():
    beneath.opener.cache_clear()
    assert beneath.opener() in {beneath.open_by_kernel, beneath.open_by_walk}
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (5, 6):
        assert beneath.opener() is beneath.open_by_walk


def test_no_descriptor_is_left_open(shop: Path, opener: beneath.Opener):
    (shop / "out").symlink_to("../../secret")
    (shop / "loop").symlink_to("loop")
    (shop / "deep").mkdir()
    folder = os.open(shop, os.O_PATH)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for path in ("inside", "out", "loop", "missing", "deep/missing", "deep/..", "../x", ".", "inside/x"):
        try:
            descriptor = opener(folder, path, beneath.FLAGS)
        except OSError:
            continue
        assert stat.S_ISREG(os.fstat(descriptor).st_mode) == (path == "inside")
        os.close(descriptor)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
    os.close(folder)
