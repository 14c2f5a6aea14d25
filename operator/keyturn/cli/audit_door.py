"""What the commands of ``keyturn audit`` share: the way into the database that DATABASE_URL names, and what they are given."""

import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from keyturn.cli.kept_keys import has_keys, master_keys
from keyturn.cli.needs import NoDatabase
from keyturn.decide.auditrow import LONGEST
from keyturn.decide.printable import printed
from keyturn.model.audit import Head
from keyturn.model.durations import seconds
from keyturn.model.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.model.segment import Segment
    from keyturn.store.audit import AuditTrail
    from keyturn.store.engine import Database
    from keyturn.store.keys import Keyholder

EVERY_S: Final = 0.2


_SPAN: Final = re.compile(r"(?:([0-9]{1,5})d)?((?:[0-9.]+[a-z]+)*)")
DAY_S: Final = 86_400


def span(text: str) -> float | None:
    """Seconds of a Go-style duration that may begin with days, such as 90d; None where it is none of the kind. Raises `ValueError`."""
    found = _SPAN.fullmatch(text)
    if not text or found is None:
        return None
    days, rest = found.groups()
    return int(days or 0) * DAY_S + (seconds(rest) if rest else 0)


class Span(click.ParamType[float]):
    """How long rows are kept: days, or a Go-style duration, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = span(str(value))
        except ValueError:
            found = None
        if not found:
            self.fail("is no time that rows could be kept; write it as 90d, or as a Go duration such as 2160h", param, ctx)
        return found


class Anchor(click.ParamType[Head]):
    """An end of the chain that somebody kept."""

    name = "seq:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Head:
        found = Head.parse(str(value))
        if found is None:
            self.fail("is no end of a trail; give what `keyturn audit verify` told, as NUMBER:HASH", param, ctx)
        return found


class Time(click.ParamType[datetime]):
    """A time, in UTC where it names no zone; or a Go-style duration, for so long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            if (ago := span(str(value))) is not None:
                return datetime.now(UTC) - timedelta(seconds=ago)
            found = datetime.fromisoformat(str(value))
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, OverflowError):  # in UTC it may lie before the first year, or behind the last
            self.fail("is no time; write it as 2026-11-30, 2026-11-30T12:00:00Z, or 2h for two hours ago, 2d for two days", param, ctx)


class Text(click.ParamType[str]):
    """What a text of a row is, or has in it."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if len(text) > LONGEST:
            self.fail(f"has {len(text)} characters, and no text of a row more than {LONGEST}", param, ctx)
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            self.fail("has bytes that are no text in the encoding of this shell; give it in UTF-8, with LC_ALL=C.UTF-8", param, ctx)
        return text


def in_order(since: datetime | None, until: datetime | None) -> None:
    """Raises `click.UsageError` where nothing can be between the two."""
    if since is not None and until is not None and since >= until:
        message = "--since has to be before --until; so long ago, the longer time comes first: --since 2d --until 1d"
        raise click.UsageError(message)


def database_url() -> Sensitive:
    """That of DATABASE_URL; empty where it is not set."""
    return Sensitive.of(os.environ.get("DATABASE_URL", "").strip())


def processors() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def told_elsewhere(moved: "Sequence[Segment]") -> str:
    """Which rows are not in the database any more; '' where all are."""
    if not moved:
        return ""
    last, name = moved[-1].last, printed(moved[-1].name)
    return f"rows 1 to {last} were moved out of the database, and are not looked into; the newest of their files is {name}"


@contextmanager
def progress() -> Iterator[Callable[[int], None]]:
    """Shows a person how many rows were followed; a file or a pipe is told nothing."""
    is_seen, last = sys.stderr.isatty(), 0.0

    def told(rows: int) -> None:
        nonlocal last
        if is_seen and (now := time.monotonic()) > last + EVERY_S:
            last = now
            click.echo(f"\r{rows} rows", nl=False, err=True)

    try:
        yield told
    finally:
        if last:
            click.echo("\r\x1b[K", nl=False, err=True)


@asynccontextmanager
async def opened_trail(url: Sensitive | None = None) -> AsyncIterator[tuple["Database", "AuditTrail"]]:
    """Of DATABASE_URL, or at this URL. Raises `KeyturnError` where it is not there, or of another schema."""
    from keyturn.store.audit import AuditTrail
    from keyturn.store.engine import open_database
    from keyturn.store.schema import check

    if not (url := url or database_url()):
        raise NoDatabase("set DATABASE_URL to the database whose audit trail is meant")
    database = open_database(url)
    if missing := database.missing_file:
        raise NoDatabase(f"the file {missing} that DATABASE_URL names is not there")
    try:
        await check(database)
        yield database, AuditTrail(database, lambda: ("", None))
    finally:
        await database.close()


async def given_keys(database: "Database") -> "Keyholder | None":
    """The master keys that were given or are kept, opened; None where there are none. Raises `KeyturnError` where they do not fit."""
    from keyturn.store.keys import Keyholder

    if not has_keys():
        return None
    holder = Keyholder(database, await master_keys())
    await holder.open()
    return holder
