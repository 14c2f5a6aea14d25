"""The audit trail's database is away under load: what the API server says was changed meanwhile, and that all goes on by itself."""

import asyncio
import resource
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from canary import Canary
from cluster.audit import mark, requests, writes
from cluster.process import Operator
from cluster.shop import Shop
from cluster.trails import Trail
from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from store.places import Place

COUNT = 10
SOON_S = 10
"""By itself an object tries again later than this, once it waited for some time."""


class Stage(NamedTuple):
    """An operator that is made by its flags, over a database that can be taken away."""

    plane: ControlPlane
    shop: Shop
    trail: Trail
    made: Callable[..., Operator]
    away: Callable[[], AbstractContextManager[None]]

    def changed(self, since: int) -> set[str]:
        """The Secrets of ours that were written since."""
        found = writes(requests(self.plane, since=since), "secrets")
        return {each.name or "(new)" for each in found if each.namespace == self.shop.namespace and each.code < 300}


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary) -> Iterator[Stage]:
    given, started = {"SECRET_KEY": secrets.token_urlsafe(48)}, []
    if request.param == "sqlite":
        (tmp_path / "database").mkdir()
        file = tmp_path / "database" / "own.db"
        given["DATABASE_URL"], away, drop = f"sqlite:///{file}", lambda: held(file), lambda: None
    else:
        server = request.getfixturevalue("postgres")
        own = server.create()
        asyncio.run(migrated(Place(own.user_url, own.owner_url, server=server, own=own)))
        given["DATABASE_URL"], drop = own.user_url, lambda: server.drop(own)

        @contextmanager
        def away() -> Iterator[None]:
            server.pause()
            try:
                yield
            finally:
                server.resume()

    def made(*flags: str) -> Operator:
        operator = Operator(own_home, tmp_path, *flags, settings=given)
        operator.start()
        started.append(operator)
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        return operator

    yield Stage(own_home, own_shop, Trail(given), made, away)
    for operator in started:
        operator.__exit__()
    drop()


async def migrated(place: Place) -> None:
    await place.migrate()
    await place.close()


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Somebody holds the lock of SQLite's one writer."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def loaded(stage: Stage) -> None:
    """Objects that stand, with values in memory."""
    for number in range(COUNT):
        stage.shop.source(**{f"p{number}": stage.shop.value()})
        stage.shop.order(f"app-{number}", {"password": f"p{number}"})
    for number in range(COUNT):
        stage.shop.wait(f"app-{number}")


def pressed(stage: Stage, operator: Operator) -> None:
    """Work for an operator whose trail is away: new objects, and a spec that changes."""
    stage.shop.order("new-0", {"password": "p0"})
    stage.shop.change("app-1", target={"template": {"metadata": {"labels": {"tier": "db"}}}})
    eventually(lambda: operator.metric("keyturn_audit_up") == 0, 60, operator.story)
    stage.shop.wait("new-0", "AuditUnavailable", 60)


def broken(stage: Stage) -> None:
    """One is edited, and one deleted, by another hand."""
    stage.shop.edit("app-2", data={"password": "eHh4"})
    stage.shop.api.delete("Secret", stage.shop.namespace, "app-3")


def whole(stage: Stage) -> None:
    told = stage.trail.call("verify")
    assert "hang together as they were written" in told, told
    assert "not settled" not in told, told


def test_without_its_database_nothing_is_changed_but_what_was_audited_is_brought_back(stage: Stage) -> None:
    operator = stage.made()
    loaded(stage)
    kept = {name: stage.shop.data(name) for name in ("app-2", "app-3")}
    with stage.away():
        since = mark(stage.plane)
        pressed(stage, operator)
        broken(stage)
        for name, data in kept.items():
            eventually(lambda name=name, data=data: stage.shop.data(name) == data, 60, operator.story)
        assert stage.changed(since) <= {"app-2", "app-3", "(new)"}
        assert stage.shop.find("new-0") is None
        assert all(stage.shop.ready(f"app-{number}")["status"] == "True" for number in range(2, COUNT))
    stage.shop.wait("new-0", deadline_s=60)
    stage.shop.wait("app-1", deadline_s=60)
    assert operator.stop() == 0, operator.story()
    whole(stage)
    name = f"Secret/{stage.shop.namespace}/app-3"
    assert name in stage.trail.call("query", "--action", "secret.recreate")


def test_where_repairs_are_off_these_wait_too(stage: Stage) -> None:
    operator = stage.made("--audit-repair=off")
    loaded(stage)
    with stage.away():
        since = mark(stage.plane)
        pressed(stage, operator)
        broken(stage)
        stage.shop.wait("app-2", "AuditUnavailable", 60)
        stage.shop.wait("app-3", "AuditUnavailable", 60)
        assert stage.changed(since) == set()
    for name in ("app-2", "app-3", "new-0"):
        stage.shop.wait(name, deadline_s=60)
    assert "app-2" in stage.changed(since), "and the API server's log tells of what was done after"
    assert operator.stop() == 0, operator.story()
    whole(stage)


def test_with_best_effort_all_goes_on_over_a_kill_and_the_chain_is_whole_after(stage: Stage, tmp_path: Path, canary: Canary) -> None:
    operator = stage.made("--audit=best-effort", f"--audit-spool={tmp_path}")
    loaded(stage)
    with stage.away():
        stage.shop.order("first", {"password": "p0"})
        stage.shop.wait("first", deadline_s=60)
        stage.shop.order("second", {"password": "p1"})
        stage.shop.wait("second", deadline_s=60)
        operator.kill()
        operator.start()
        stage.shop.order("third", {"password": "p2"})
        stage.shop.wait("third", deadline_s=60)
        assert operator.metric("keyturn_audit_up") == 0
        assert operator.metric("keyturn_audit_spool_bytes") > 0
        canary.watch_folder(tmp_path, "*.spool")
        assert list(canary.scan()) == [], "no value is in the spool while rows lie in it"
    eventually(lambda: operator.metric("keyturn_audit_up") == 1, 60, operator.story)
    assert operator.metric("keyturn_audit_spool_bytes") == 0
    assert operator.stop() == 0, operator.story()
    whole(stage)
    made = stage.trail.call("query", "--action", "secret.create", "--limit", "1000")
    for name in ("first", "second", "third"):
        assert f"Secret/{stage.shop.namespace}/{name} " in made, made


# A file can be taken away; a server goes as a whole, which is looked at above.
@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
def test_when_the_very_file_is_back_all_goes_on_at_once_and_what_was_done_meanwhile_is_in_it(stage: Stage, tmp_path: Path) -> None:
    operator = stage.made()
    loaded(stage)
    (tmp_path / "database").rename(tmp_path / "aside")
    stage.shop.order("new-0", {"password": "p0"})
    assert "put that very file back" in stage.shop.wait("new-0", "AuditUnavailable", 60)["message"]
    kept = stage.shop.data("app-3")
    broken(stage)
    eventually(lambda: stage.shop.find("app-3") is not None and stage.shop.data("app-3") == kept, 60, operator.story)
    assert not (tmp_path / "database").exists(), "and none was made anew"
    waits = lambda: max(r.get("retry_s") or 0 for r in operator.records() if r.get("object", "").endswith("/new-0"))  # noqa: E731  # read often
    eventually(lambda: waits() > SOON_S, 90, operator.story)
    (tmp_path / "aside").rename(tmp_path / "database")
    eventually(lambda: operator.metric("keyturn_audit_up") == 1, 60, operator.story)
    stage.shop.wait("new-0", deadline_s=SOON_S / 2)
    assert f"Secret/{stage.shop.namespace}/app-3" in stage.trail.call("query", "--action", "secret.recreate")
    assert operator.stop() == 0, operator.story()
    whole(stage)


# A server's disk is not ours to fill; what it says then is looked at in tests/store.
@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
def test_on_a_full_disk_nothing_is_changed_the_remedy_is_told_and_it_goes_on_by_itself(stage: Stage, tmp_path: Path) -> None:
    operator = stage.made()
    loaded(stage)
    wal = tmp_path / "database" / "own.db-wal"
    soft, hard = resource.prlimit(operator.pid, resource.RLIMIT_FSIZE)
    # Files of the operator may not grow any more: the kernel refuses each write behind that.
    resource.prlimit(operator.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, hard))
    since = mark(stage.plane)
    try:
        stage.shop.order("new-0", {"password": "p0"})
        told = stage.shop.wait("new-0", "AuditUnavailable", 60)["message"]
        assert "look for room on it" in told
        assert stage.changed(since) == set()
        assert stage.shop.ready("app-5")["status"] == "True"
    finally:
        resource.prlimit(operator.pid, resource.RLIMIT_FSIZE, (soft, hard))
    stage.shop.wait("new-0", deadline_s=60)
    assert operator.stop() == 0, operator.story()
    whole(stage)
