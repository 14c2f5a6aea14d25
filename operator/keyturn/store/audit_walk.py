"""The whole audit trail followed, by several processes where it is long: each follows a stretch of it, and the ends are joined here."""

import asyncio
import multiprocessing
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, literal_column, select

from keyturn.decide.hashchain import START, Break, Stretch, Strider, Walk
from keyturn.decide.segment import Check, Shelf
from keyturn.model.audit import Head
from keyturn.model.errors import Unavailable
from keyturn.model.note import UnknownSigner
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit_reading import NotOurs, astray, head_at, parts
from keyturn.store.audit_segments import RowsElsewhere, segments_of, shelf_of
from keyturn.store.audit_tables import log
from keyturn.store.engine import Database, open_database

STRETCH: Final = 20_000
"""Rows that a process follows at once: what it tells of them is small."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How it is followed: by ``jobs`` processes where ``url`` tells them where the database is. ``told`` hears of rows that are done."""

    url: Sensitive | None = None
    jobs: int = 1
    told: Callable[[int], None] = lambda _: None


ALONE: Final = Pace()
"""In this process, and without a word."""


async def followed(database: Database, walk: Walk, pace: Pace = ALONE, known: Check | None = None) -> Break | None:
    """Follows all rows behind where the walk stands; what is wrong with the first bad one. Raises `RowsElsewhere` and `ProviderError`.

    A walk at the start skips what was moved into files, as the table of segments says; ``known`` tells those of ours there.
    """
    moved = await segments_of(database)
    try:
        shelf, problem, _ = await shelf_of(database, moved, known)
    except UnknownSigner:  # by a key of former times, say: where the rows follow, that is not asked here
        shelf, problem, _ = await shelf_of(database, moved, None)
    problem = problem or await _followed(database, walk, pace, shelf)
    if problem and await segments_of(database) != moved:
        raise Unavailable("rows were moved out of the database while it was followed; run this again")
    return problem


async def _followed(database: Database, walk: Walk, pace: Pace, shelf: Shelf) -> Break | None:
    if walk.at == START and shelf.found:
        if walk.anchor is not None and walk.anchor.seq < shelf.at.seq:
            raise RowsElsewhere(
                f"row {walk.anchor.seq}, which the anchor was taken of, was moved into a file; give the folder of those too"
            )
        walk.skip(shelf.at)
    if walk.at == shelf.at and (problem := await astray(database, walk.at.seq)):
        return problem
    if pace.url is not None and pace.jobs > 1 and await _is_long(database, walk.at.seq, pace.jobs):
        async with _workers(pace.jobs) as pool:
            if problem := await _shared(walk, pool, pace.url.reveal(), pace):
                return problem
    try:
        async for part in parts(database, walk.at.seq):
            if problem := await asyncio.to_thread(walk.follow, part):
                return problem
            pace.told(walk.at.seq)
    except NotOurs as odd:
        return odd.found
    return walk.end()


async def _is_long(database: Database, after: int, jobs: int) -> bool:
    """Whether it takes longer than to start processes."""
    async with database.reading() as connection:
        last = await connection.scalar(select(func.max(literal_column("seq"))).select_from(log))
    return type(last) is not int or last - after > jobs * STRETCH


@asynccontextmanager
async def _workers(jobs: int) -> AsyncIterator[ProcessPoolExecutor]:
    # New ones, which have nothing of this process but what they are given: no keys, and none of its connections.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BrokenProcessPool:
        raise Unavailable("a process that followed a part of the trail was ended; try it with --jobs 1") from None
    finally:
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


async def _shared(walk: Walk, pool: ProcessPoolExecutor, url: bytes, pace: Pace) -> Break | None:
    """Follows stretch after stretch, up to the last that is whole."""
    running: deque[asyncio.Future[Stretch]] = deque()
    loop, start = asyncio.get_running_loop(), walk.at
    after = start.seq
    while True:
        while len(running) < 2 * pace.jobs:
            to = after + STRETCH
            running.append(loop.run_in_executor(pool, work, url, start, after, to, walk.wanted(after, to)))
            after = to
        found = await running.popleft()
        if problem := walk.join(found):
            return problem
        pace.told(walk.at.seq)
        if found.count < STRETCH:
            return None


def work(url: bytes, start: Head, after: int, to: int, wanted: frozenset[int]) -> Stretch:
    """The rows behind a number up to another, in a process of its own. ``start`` is where the whole walk began."""
    return asyncio.run(_work(url, start, after, to, wanted))


async def _work(url: bytes, start: Head, after: int, to: int, wanted: frozenset[int]) -> Stretch:
    database = open_database(Sensitive(url))
    try:
        begin = start if after == start.seq else await head_at(database, after)
        if begin is None:
            return Stretch(Head(after, b""), Head(after, b""))  # never joined: whoever followed the rows before did not come to here
        strider = Strider(begin, wanted)
        try:
            async for part in parts(database, after, to):
                if strider.follow(part):
                    break
        except NotOurs as odd:
            strider.problem = odd.found
        return strider.told()
    finally:
        await database.close()
