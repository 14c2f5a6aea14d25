"""What is missing, and what follows from it."""

import pytest

from builders import entry, order, secret, value
from keyturn.decide.gather import MAX_SECRET_BYTES, gather
from keyturn.decide.judge import text_of
from keyturn.decide.select import MOST_PARSED
from keyturn.model.errors import (
    AccessDenied,
    AuthFailed,
    Disabled,
    Invalid,
    KeyturnError,
    NotFound,
    ProviderError,
    Rejected,
    SourceDeleted,
    SourceNotFound,
    SourcePartlyMissing,
    Throttled,
    Unavailable,
)
from keyturn.model.material import Value
from keyturn.model.order import DeletionPolicy, Entry, Material, Order

GONE = NotFound("there is no such secret")
HERE = value()
DELETE = DeletionPolicy.DELETE


def material(what: Order, *answers: Value | ProviderError) -> Material:
    return {(e.provider, e.source): answer for e, answer in zip(what.entries, answers, strict=True)}


def test_every_entry_that_is_there_becomes_a_key() -> None:
    what = order("user", "password")
    data = gather(what, material(what, value("kt-canary-u"), value("kt-canary-p")), was_synced=False)
    assert data == {"user": secret("kt-canary-u"), "password": secret("kt-canary-p")}


def test_a_property_is_taken_out_of_the_value() -> None:
    what = order(entry("password", "db", property="password"))
    assert gather(what, material(what, value('{"password": "kt-canary-p"}')), was_synced=False) == {"password": secret("kt-canary-p")}


def test_a_document_is_taken_apart_once_for_all_the_entries_that_draw_on_it() -> None:
    document = value('{"password": "kt-canary-p", "rest": "' + "x" * (MOST_PARSED // 2) + '"}')
    what = order(*(entry(f"k{n}", "db", property="password") for n in range(1000)))
    data = gather(what, material(what, *[document] * 1000), was_synced=False)
    assert len(data) == 1000


def test_more_json_than_keeps_the_others_waiting_is_refused() -> None:
    what = order(*(entry(f"k{n}", f"db-{n}", property="password") for n in range(3)))
    document = value('{"password": "kt-canary-p", "rest": "' + "x" * (MOST_PARSED // 2) + '"}')
    with pytest.raises(Invalid, match="more than 2 MiB of JSON are to be taken apart; split the ManagedSecret"):
        gather(what, material(what, *[document] * 3), was_synced=False)


OPTIONAL, DEFAULT = entry("o", optional=True), entry("d", default="kt-canary-default")


@pytest.mark.parametrize(
    ("entries", "answers", "keys"),
    [
        pytest.param((OPTIONAL, entry("a")), (GONE, HERE), {"a"}, id="optional is left out"),
        pytest.param((OPTIONAL, entry("a")), (HERE, HERE), {"a", "o"}, id="optional is there"),
        pytest.param((DEFAULT, entry("a")), (GONE, HERE), {"a", "d"}, id="default steps in"),
        pytest.param((DEFAULT,), (GONE,), {"d"}, id="default alone"),
        pytest.param(
            (entry("p", "db", property="x", optional=True), entry("a")), (value("{}"), HERE), {"a"}, id="missing property is missing"
        ),
    ],
)
@pytest.mark.parametrize("was_synced", [False, True], ids=["first", "later"])
def test_what_may_be_missing_does_no_harm(
    entries: tuple[Entry, ...], answers: tuple[Value | ProviderError, ...], keys: set[str], *, was_synced: bool
) -> None:
    what = order(*entries)
    assert gather(what, material(what, *answers), was_synced=was_synced).keys() == keys


A, B = entry("a"), entry("b")


@pytest.mark.parametrize(
    ("entries", "answers", "was_synced", "error"),
    [
        pytest.param((A, B), (HERE, GONE), False, SourceNotFound, id="first sync, one missing"),
        pytest.param((A, B), (GONE, GONE), False, SourceNotFound, id="first sync, all missing"),
        pytest.param((OPTIONAL,), (GONE,), False, SourceNotFound, id="first sync, all optional and missing"),
        pytest.param((A, B), (HERE, GONE), True, SourcePartlyMissing, id="later, one missing"),
        pytest.param((A, B), (GONE, GONE), True, SourceDeleted, id="later, all missing"),
        pytest.param((OPTIONAL,), (GONE,), True, SourceDeleted, id="later, all optional and missing"),
        pytest.param((A, OPTIONAL), (GONE, HERE), True, SourcePartlyMissing, id="later, only an optional is left"),
        pytest.param((entry("p", "db", property="x"),), (value("{}"),), False, SourceNotFound, id="a missing property is a missing source"),
        pytest.param((A, B), (GONE, Unavailable("")), True, Unavailable, id="an outage beside an absence is no absence"),
        pytest.param((A, B), (GONE, AccessDenied("")), True, AccessDenied, id="a denial beside an absence is no absence"),
        pytest.param((A, B), (GONE, Throttled("")), True, Throttled, id="a throttle beside an absence is no absence"),
        pytest.param((A, B), (Disabled(""), Unavailable("")), True, Disabled, id="what a person must mend is said first"),
        pytest.param((A, B), (AccessDenied(""), AuthFailed("")), True, AuthFailed, id="the log-in before the right"),
        pytest.param((DEFAULT,), (Unavailable(""),), False, Unavailable, id="default is for absence alone, not for an outage"),
        pytest.param((OPTIONAL, A), (AccessDenied(""), HERE), False, AccessDenied, id="optional is for absence alone, not for a denial"),
        pytest.param((entry("p", "db", property="x"),), (value("kt-canary-1"),), False, Invalid, id="no JSON where a property is asked"),
    ],
)
def test_what_is_not_there_is_told_as_what_it_is(
    entries: tuple[Entry, ...], answers: tuple[Value | ProviderError, ...], *, was_synced: bool, error: type[KeyturnError]
) -> None:
    what = order(*entries)
    with pytest.raises(error) as caught:
        gather(what, material(what, *answers), was_synced=was_synced)
    assert type(caught.value) is error
    assert "kt-canary" not in str(caught.value)


def test_all_gone_after_a_sync_gives_nothing_where_the_order_says_delete() -> None:
    what = order("a", "b", deletion=DELETE)
    assert gather(what, material(what, GONE, GONE), was_synced=True) == {}


@pytest.mark.parametrize(
    ("answers", "was_synced", "error"),
    [
        pytest.param((HERE, GONE), True, SourcePartlyMissing, id="a part"),
        pytest.param((GONE, Unavailable("")), True, Unavailable, id="an outage"),
        pytest.param((GONE, GONE), False, SourceNotFound, id="never synced"),
    ],
)
def test_delete_means_all_gone_and_nothing_less(
    answers: tuple[Value | ProviderError, ...], *, was_synced: bool, error: type[KeyturnError]
) -> None:
    what = order("a", "b", deletion=DELETE)
    with pytest.raises(error):
        gather(what, material(what, *answers), was_synced=was_synced)


def told(what: Order, *answers: Value | ProviderError, was_synced: bool = False) -> str:
    """What a condition says of these answers."""
    with pytest.raises(KeyturnError) as caught:
        gather(what, material(what, *answers), was_synced=was_synced)
    assert "kt-canary" not in str(caught.value)
    return text_of(caught.value)


def test_what_is_missing_is_told_in_the_providers_own_words() -> None:
    what = order("a", entry("b", "shop/db", property="pass.word"), entry("c", "Cache"))
    odd = NotFound("Key Vault does not have the key Cache; it has one that is spelled cache", request_id="r-1")
    said = "b (shop/db has no property 'pass.word'), c (Key Vault does not have the key Cache; it has one that is spelled cache)"
    given = (HERE, value('{"other": "kt-canary-1"}'), odd)
    assert told(what, *given) == f"not at the provider: {said}"
    assert told(what, *given, was_synced=True) == f"no longer at the provider: {said}; the last good Secret stays"


def test_the_words_for_what_is_missing_are_the_same_at_each_call() -> None:
    what = order("a")
    one, other = (told(what, NotFound("Vault does not have the key a", request_id=request)) for request in ("r-1", "r-2"))
    assert one == other == "not at the provider: a (Vault does not have the key a)"


def test_words_that_do_not_name_the_source_get_its_name() -> None:
    assert told(order(entry("a", "db", version="3")), GONE) == "not at the provider: a (db@3: there is no such secret)"


def test_sources_that_went_are_named_where_the_secret_is_kept() -> None:
    said = "all sources are gone from the provider: a (a: there is no such secret); deletionPolicy Retain keeps the last good Secret"
    assert told(order("a"), GONE, was_synced=True) == said


def test_keys_of_one_fault_are_told_once_and_many_with_a_count() -> None:
    what = order(*(entry(f"key-{n:02}", "db") for n in range(40)))
    said = told(what, *[GONE] * 40)
    assert said.startswith("not at the provider: key-00, key-01, key-02,")
    assert said.endswith("and 25 more (db: there is no such secret)")


@pytest.mark.parametrize("length", [10, 200, 2000])
def test_many_long_faults_leave_room_for_what_to_do(length: int) -> None:
    what = order(*(entry(f"key-{n:02}-{'x' * 240}", f"{n}{'y' * length}") for n in range(40)))
    said = told(what, *(NotFound(f"there is no {e.source}") for e in what.entries))
    assert len(said) < 800
    assert said.endswith(" more")


def test_faults_of_several_kinds_are_told_together_the_worst_first() -> None:
    what = order(entry("a", "db", property="passwrd"), "b", entry("c", "text", property="x"), "d")
    denied = AccessDenied("AWS refuses this identity the secret b", request_id="r-1")
    with pytest.raises(AccessDenied) as caught:
        gather(what, material(what, value('{"password": "kt-canary-1"}'), denied, value("kt-canary-1"), HERE), was_synced=False)
    assert text_of(caught.value) == (
        "b (AWS refuses this identity the secret b), c (text: a property is asked for, and the value is no JSON (line 1)), "
        "a (db has no property 'passwrd')"
    )
    assert str(caught.value).endswith(" (request r-1)")
    assert str(denied) == "AWS refuses this identity the secret b (request r-1)", "others meet it too"


def test_one_fault_of_all_is_told_as_it_is() -> None:
    given = [AuthFailed("AWS does not know the access key", request_id=f"r-{n}") for n in range(3)]
    assert told(order("a", "b", "c"), *given) == "AWS does not know the access key"


def test_what_passes_by_itself_is_told_alone_or_not_at_all() -> None:
    away = Unavailable("the server gave no answer")
    assert told(order("a", "b"), GONE, away) == "the server gave no answer"
    assert told(order("a", "b"), AccessDenied("no"), away) == "no"


@pytest.mark.parametrize(("size", "fits"), [(MAX_SECRET_BYTES, True), (MAX_SECRET_BYTES + 1, False)], ids=["a MiB", "one byte more"])
def test_a_secret_takes_one_mebibyte(size: int, *, fits: bool) -> None:
    what = order("a", "b")
    given = material(what, value("x" * (size - 1)), value("y"))
    if fits:
        assert len(gather(what, given, was_synced=False)) == 2
    else:
        with pytest.raises(Invalid, match="split"):
            gather(what, given, was_synced=False)


@pytest.mark.parametrize(
    ("kind", "keys", "lacking"),
    [
        pytest.param("kubernetes.io/tls", ("tls.crt", "tls.key"), "", id="tls whole"),
        pytest.param("kubernetes.io/tls", ("tls.crt",), "tls.key", id="tls without key"),
        pytest.param("kubernetes.io/dockerconfigjson", (".dockerconfigjson",), "", id="docker config whole"),
        pytest.param("kubernetes.io/dockerconfigjson", ("config",), ".dockerconfigjson", id="docker config lacks its key"),
        pytest.param("kubernetes.io/dockercfg", ("x",), ".dockercfg", id="old docker config lacks its key"),
        pytest.param("kubernetes.io/ssh-auth", ("x",), "ssh-privatekey", id="ssh lacks its key"),
        pytest.param("kubernetes.io/basic-auth", ("password",), "", id="basic auth needs neither"),
        pytest.param("Opaque", ("x",), "", id="Opaque needs nothing"),
    ],
)
def test_a_type_that_needs_keys_gets_them_or_is_rejected(kind: str, keys: tuple[str, ...], lacking: str) -> None:
    what = order(*keys, type=kind)
    given = material(what, *[HERE] * len(keys))
    if lacking:
        with pytest.raises(Rejected, match=lacking):
            gather(what, given, was_synced=False)
    else:
        assert gather(what, given, was_synced=False).keys() == set(keys)
