"""The Secret as it should be: marks, owner, field manager."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import desired, entry, managed, order, secret, source_status, value
from keyturn.decide.render import drawn_on, manager_of, revision_of, sources_of
from keyturn.model.errors import NotFound
from keyturn.model.order import CreationPolicy
from keyturn.testing.world import KEY, OTHER_KEY

LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) <= 253)


def test_a_secret_carries_our_marks() -> None:
    of = managed("app-db", order("password", target="other"))
    made = desired(of)
    assert made.labels == {"keyturn.dev/managed": "true", "app.kubernetes.io/managed-by": "keyturn"}
    assert made.annotations == {
        "keyturn.dev/owner": "app-db",
        "keyturn.dev/source": "SecretProvider/vault:password",
        "keyturn.dev/revision": made.revision,
    }
    assert (made.ref.namespace, made.ref.name, made.manager) == ("shop", "other", "keyturn/app-db")


def test_the_class_is_marked_where_there_are_several_operators() -> None:
    assert "keyturn.dev/class" not in desired(managed()).annotations
    assert desired(managed(), controller_class="blue").annotations["keyturn.dev/class"] == "blue"


def test_nothing_of_the_template_overrides_a_mark() -> None:
    aim = order(labels={"keyturn.dev/managed": "no", "team": "shop"}, annotations={"keyturn.dev/owner": "x", "note": "y"})
    made = desired(managed("app-db", aim))
    assert made.labels["keyturn.dev/managed"] == "true"
    assert made.labels["team"] == "shop"
    assert made.annotations["keyturn.dev/owner"] == "app-db"
    assert made.annotations["note"] == "y"


def test_no_mark_shows_a_value() -> None:
    made = desired(managed("app-db", order("password", "user")))
    assert "kt-canary" not in "".join([*made.annotations.values(), *made.labels.values(), made.revision])


def test_owner_has_an_owner_reference_without_controller_and_orphan_has_none() -> None:
    owner = desired(managed()).owner
    assert owner is not None
    assert (owner.kind, owner.name, owner.uid, owner.controller, owner.api_version) == (
        "ManagedSecret",
        "app-db",
        "uid-of-app-db",
        False,
        "keyturn.dev/v1alpha1",
    )
    assert desired(managed("app-db", order(creation=CreationPolicy.ORPHAN))).owner is None


def test_sources_are_named_once_in_the_order_of_the_spec() -> None:
    what = order(entry("a", "y"), entry("b", "x"), entry("c", "y", property="p"), entry("d", "x", version="3"))
    assert [(s.key, s.version) for s in sources_of(what)] == [("y", ""), ("x", ""), ("x", "3")]


def test_sources_that_were_drawn_on_have_the_version_that_came() -> None:
    what = order(entry("a", "y"), entry("b", "x", version="current"), entry("c", "gone", version="9", optional=True), entry("d", "x"))
    came = (value(version="4"), value(version="2"), NotFound("there is no gone"), value(version="2"))
    found = drawn_on(what, {(e.provider, e.source): answer for e, answer in zip(what.entries, came, strict=True)})
    assert [(s.key, s.version) for s in found] == [("y", "4"), ("x", "2")], "what is not there gave nothing"


def test_the_mark_of_sources_does_not_follow_versions_that_come() -> None:
    of = managed()
    assert desired(of, version="1").annotations == desired(of, version="2").annotations


@pytest.mark.parametrize(("count", "ends"), [(100, "k099"), (101, "(+1 more)"), (250, "(+150 more)")])
def test_the_source_mark_names_a_hundred_and_counts_the_rest(count: int, ends: str) -> None:
    mark = desired(managed("m", order(*(f"k{n:03}" for n in range(count))))).annotations["keyturn.dev/source"]
    assert mark.endswith(ends)
    assert mark.count("SecretProvider/vault:") == min(count, 100)


@pytest.mark.parametrize(
    ("length", "manager"),
    [
        pytest.param(120, "keyturn/" + "a" * 120, id="128 bytes stay"),
        pytest.param(121, "keyturn/" + "a" * 100 + "-", id="129 are cut"),
        pytest.param(253, "keyturn/" + "a" * 100 + "-", id="the longest name"),
    ],
)
def test_a_field_manager_is_cut_above_128_bytes(length: int, manager: str) -> None:
    found = manager_of("a" * length)
    assert found.startswith(manager)
    assert len(found) == (128 if length == 120 else 119)


@given(NAMES, NAMES)
def test_field_managers_fit_and_differ_where_names_differ(one: str, other: str) -> None:
    assert len(manager_of(one).encode()) <= 128
    assert (manager_of(one) == manager_of(other)) == (one == other)


def test_names_that_begin_alike_have_different_managers() -> None:
    assert manager_of("a" * 200 + "b") != manager_of("a" * 200 + "c")


OLD = {"password": secret("kt-canary-1")}
NEW = {"password": secret("kt-canary-2")}


@pytest.mark.parametrize(
    ("data", "former_data", "keeps"),
    [
        pytest.param(OLD, OLD, True, id="other key, same data"),
        pytest.param(NEW, OLD, False, id="other key, other data"),
        pytest.param(OLD, {**OLD, "gone": secret()}, False, id="other key, a key less"),
        pytest.param(OLD, None, False, id="the same key"),
    ],
)
def test_a_revision_outlives_its_key_while_the_data_stay(data: dict, former_data: dict | None, *, keeps: bool) -> None:  # type: ignore[type-arg]  # tables of Sensitive
    former = OTHER_KEY.revision(OLD)
    assert revision_of(KEY, data, former, former_data) == (former if keeps else KEY.revision(data))


def test_rendering_is_the_same_each_time() -> None:
    of = managed()
    assert desired(of) == desired(of)
    assert desired(of).sources == (source_status(),)
