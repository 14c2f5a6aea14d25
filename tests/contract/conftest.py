"""Fixtures of the provider tests."""

from pathlib import Path

import pytest

from contract.files import OUTSIDE
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
