"""Fixtures of the store's tests: each runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from canary import Canary
from canary.files import dumped
from postgres import Postgres
from store.places import Place, postgres_place, sqlite_place


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_place(request: pytest.FixtureRequest, tmp_path: Path, canary: Canary) -> AsyncIterator[Place]:
    """A database without tables. No value lies in it, in its logs, or in what a test writes beside it."""
    canary.watch_folder(tmp_path)
    if request.param == "sqlite":
        async with sqlite_place(tmp_path) as place:
            yield place
    else:
        server: Postgres = request.getfixturevalue("postgres")
        async with postgres_place(server) as place:
            canary.watch(lambda: dumped(place.bytes()))
            yield place


@pytest.fixture
async def place(empty_place: Place) -> Place:
    """A database with the newest schema."""
    await empty_place.migrate()
    return empty_place
