"""The fake Secret Manager refuses what Google refuses: else the provider would be proven against a kinder world."""

from collections.abc import Callable

import pytest

from keyturn.testing.google_store import MOST_ALIASES, MOST_BYTES, Project, Refused

Act = Callable[[Project], object]


@pytest.fixture
def project() -> Project:
    made = Project(clock=lambda: 1000.0)
    made.create("db", {}, {})
    for word in (b"one", b"two"):
        made.add("db", word)
    return made


def update(**changes: dict[str, str] | dict[str, int]) -> Act:
    return lambda project: project.update("db", "", changes)


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda project: project.create("db", {}, {}), "ALREADY_EXISTS"),
        (lambda project: project.create("shop/db", {}, {}), "INVALID_ARGUMENT"),
        (lambda project: project.create("a" * 256, {}, {}), "INVALID_ARGUMENT"),
        (lambda project: project.create("new", {"Team": "a"}, {}), "INVALID_ARGUMENT"),
        (lambda project: project.create("new", {}, {"-a": "b"}), "INVALID_ARGUMENT"),
        (lambda project: project.create("new", {}, {"a": "b" * 16384}), "INVALID_ARGUMENT"),
        (lambda project: project.add("db", b""), "INVALID_ARGUMENT"),
        (lambda project: project.add("db", b"x" * (MOST_BYTES + 1)), "INVALID_ARGUMENT"),
        (lambda project: project.add("none", b"x"), "NOT_FOUND"),
        (lambda project: project.access("db", "3"), "NOT_FOUND"),
        (lambda project: project.access("db", "current"), "NOT_FOUND"),
        (lambda project: project.access("db", "0"), "NOT_FOUND"),
        (lambda project: project.update("db", '"stale"', {"labels": {}}), "FAILED_PRECONDITION"),
        (update(version_aliases={"latest": 1}), "INVALID_ARGUMENT"),
        (update(version_aliases={"NEW": 1}), "INVALID_ARGUMENT"),
        (update(version_aliases={"1a": 1}), "INVALID_ARGUMENT"),
        (update(version_aliases={"current": 3}), "INVALID_ARGUMENT"),
        (update(version_aliases={f"a{number}": 1 for number in range(MOST_ALIASES + 1)}), "INVALID_ARGUMENT"),
        (update(labels={f"a{number}": "" for number in range(65)}), "INVALID_ARGUMENT"),
        (lambda project: project.listed("name~db"), "INVALID_ARGUMENT"),
    ],
)
def test_it_refuses_with_the_status_that_google_has(project: Project, act: Act, status: str) -> None:
    with pytest.raises(Refused) as refused:
        act(project)
    assert refused.value.status == status


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
def test_latest_does_not_fall_back_to_an_older_version(project: Project, state: str) -> None:
    project.set_state("db", "2", state)
    with pytest.raises(Refused) as refused:
        project.access("db", "latest")
    assert refused.value.status == "FAILED_PRECONDITION"
    assert project.access("db", "1").data == b"one"


def test_what_is_destroyed_comes_back_by_nothing_and_takes_no_new_alias(project: Project) -> None:
    project.update("db", "", {"version_aliases": {"current": 1}})
    project.set_state("db", "current", "DESTROYED")
    for act in (lambda: project.set_state("db", "1", "ENABLED"), lambda: project.access("db", "current")):
        with pytest.raises(Refused, match="DESTROYED"):
            act()
    with pytest.raises(Refused, match="not there"):
        project.update("db", "", {"version_aliases": {"blue": 1}})
    assert project.secret("db").versions[0].data == b""


def test_an_etag_is_of_the_secret_and_not_of_its_versions(project: Project) -> None:
    before = project.secret("db").etag
    project.add("db", b"three")
    assert project.secret("db").etag == before
    assert project.update("db", before, {"labels": {"team": "shop"}}).etag != before


def test_a_secret_that_was_made_anew_counts_from_one(project: Project) -> None:
    del project.secrets["db"]
    project.create("db", {}, {})
    assert project.add("db", b"other").number == 1


def test_a_filter_finds_a_part_of_a_name_and_a_label(project: Project) -> None:
    project.create("other", {"team": "shop"}, {})
    assert [held.name for held in project.listed("name:THE")] == ["other"]
    assert [held.name for held in project.listed("labels.team=shop")] == ["other"]
    assert [held.name for held in project.listed("")] == ["db", "other"]


def test_with_a_lag_only_a_number_is_seen_at_once() -> None:
    now = [1000.0]
    project = Project(clock=lambda: now[0], lag_s=60.0)
    project.create("db", {}, {})
    project.add("db", b"one")
    project.update("db", "", {"version_aliases": {"current": 1}})
    assert project.access("db", "1").data == b"one"
    assert project.listed("") == []
    for word in ("latest", "current"):
        with pytest.raises(Refused, match="not found"):
            project.access("db", word)
    now[0] += 60
    project.add("db", b"two")
    assert [project.access("db", word).data for word in ("latest", "current", "2")] == [b"one", b"one", b"two"]
    assert len(project.seen("db").versions) == 1
