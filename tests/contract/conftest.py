"""Fixtures of the provider tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bao import Bao
from contract.files import OUTSIDE
from contract.vaults import Rig
from keyturn.providers import beneath, file_sources


@pytest.fixture(params=[beneath.open_by_kernel, beneath.open_by_walk], ids=["kernel", "walk"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> beneath.Opener:
    """Both ways of opening files, one after the other."""
    monkeypatch.setattr(file_sources, "opener", lambda: request.param)
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The provider's folder ``root/shop``, with a secret beside it, above it, and in a neighbour's folder."""
    shop = tmp_path / "root" / "shop"
    shop.mkdir(parents=True)
    (tmp_path / "root" / "neighbour").mkdir()
    for place in (tmp_path, tmp_path / "root", tmp_path / "root" / "neighbour"):
        (place / "secret").write_bytes(OUTSIDE)
    (shop / "inside").write_bytes(b"kt-canary-inside")
    return shop


@pytest.fixture
async def rig(bao: Bao) -> AsyncIterator[Rig]:
    """An engine of version 2 in the real server, and a policy that reads it; providers that are opened by it are closed."""
    made = Rig(bao)
    yield made
    await made.close()


@pytest.fixture
async def old_rig(bao: Bao) -> AsyncIterator[Rig]:
    """The same with an engine of version 1."""
    made = Rig(bao, engine=1)
    yield made
    await made.close()
