"""`keyturn audit query`, on both databases: by object, actor, action, time, attempt, key, outcome and reason, and what it says of none."""

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.model.audit import AuditRow, Outcome
from store.places import Place
from store.test_audit import AT, row, trail, unlocked
from store.test_verify_command import keyturn

APP, VAULT = "ManagedSecret/shop/app", "ClusterSecretProvider/vault"
LATE = AT + timedelta(hours=1)


def story() -> list[AuditRow]:
    """A sync, a pass that finds a new value, a denial, and an intent that nothing settles."""
    created = {"keys": ("password", 'odd"key'), "attempt": "t1", "trigger": "new", "details": {"sources": "default:db@3"}}
    passed = {"action": "provider.read", "subject": VAULT, "target": VAULT, "trigger": "refresh", "at": LATE}
    denied = {"action": "sync.deny", "subject": "ManagedSecret/shop/other", "target": VAULT, "attempt": "t2", "actor": "operator/b"}
    return [
        row("made", **created),
        row("made-ended", settles="made", outcome=Outcome.SUCCESS, **created),
        row("pass", keys=("db", "user"), **passed),
        row("pass-ended", settles="pass", outcome=Outcome.SUCCESS, keys=("moved",), details={"asked": "2", "answered": "2"}, **passed),
        row("denied", outcome=Outcome.DENIED, reason="ProviderNotAllowed", details={"message": "it does not admit shop"}, **denied),
        row("left", action="secret.delete", keys=("password",), at=LATE),
    ]


CREATED = (
    f'1 2026-11-30T12:00:00.000005Z operator/a secret.create {APP} -> Secret/shop/app [password, odd"key]: success; new'
    "; sources=default:db@3 #t1"
)
PASSED = f"3 2026-11-30T13:00:00.000005Z operator/a provider.read {VAULT} [moved]: success; refresh; asked=2, answered=2"
DENIED = (
    f"5 2026-11-30T12:00:00.000005Z operator/b sync.deny ManagedSecret/shop/other -> {VAULT}: denied (ProviderNotAllowed)"
    "; message=it does not admit shop #t2"
)
LEFT = f"6 2026-11-30T13:00:00.000005Z operator/a secret.delete {APP} -> Secret/shop/app [password]: open"


async def test_what_is_asked_for_is_told_a_line_for_each_with_why_and_how_it_ended(place: Place) -> None:
    await trail(place).append(story())
    for asked, lines in (
        ((), [CREATED, PASSED, DENIED, LEFT]),
        (("--object", APP), [CREATED, LEFT]),
        (("--object", "Secret/shop/app"), [CREATED, LEFT]),
        (("--object", "shop/app"), [CREATED, LEFT]),
        (("--object", VAULT), [PASSED, DENIED]),
        (("--actor", "operator/b"), [DENIED]),
        (("--action", "secret.create"), [CREATED]),
        (("--attempt", "t1"), [CREATED]),
        (("--attempt", "#t1"), [CREATED]),
        (("--namespace", "shop"), [CREATED, DENIED, LEFT]),
        (("--namespace", "sho"), []),
        (("--key", 'odd"key'), [CREATED]),
        (("--key", "moved"), [PASSED]),
        (("--key", "pass"), []),
        (("--outcome", "denied"), [DENIED]),
        (("--outcome", "open"), [LEFT]),
        (("--reason", "ProviderNotAllowed"), [DENIED]),
        (("--since", "2026-11-30T13:00Z"), [PASSED, LEFT]),
        (("--until", "2026-11-30T12:30Z", "--actor", "operator/a"), [CREATED]),
    ):
        code, told = await keyturn(place, "query", *asked)
        assert code == 0, told
        found = told.splitlines()
        assert [line for line in found if line[:1].isdigit()] == lines, asked
        assert bool(lines) is not told.startswith("no row is about that"), asked


async def test_what_ended_so_is_told_by_the_row_that_ended_it(place: Place) -> None:
    await trail(place).append(story())
    code, told = await keyturn(place, "query", "--outcome", "success", "--object", APP)
    assert (code, told.splitlines()) == (0, ["2" + CREATED[1:]])


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (("--object", "ap"), "objects are called KIND/NAMESPACE/NAME, such as ManagedSecret/shop/app"),
        (("--actor", "me"), "actors are called operator/POD, or user/UID"),
        (("--action", "create"), "docs/audit.md lists the actions"),
        (("--since", "2h"), "times are in UTC"),
    ],
)
async def test_where_nothing_is_found_it_says_how_things_are_called(place: Place, asked: tuple[str, ...], hint: str) -> None:
    await trail(place).append([row("old", at=AT - timedelta(days=900))])
    code, told = await keyturn(place, "query", *asked)
    assert (code, told.startswith("no row is about that; "), hint in told) == (0, True, True), told


async def test_an_empty_trail_a_wrong_time_and_a_limit_are_told(place: Place) -> None:
    code, told = await keyturn(place, "query")
    assert (code, "the audit trail is empty" in told) == (0, True), told
    code, told = await keyturn(place, "query", "--since", "yesterday")
    assert (code, "or 2h for two hours ago" in told) == (2, True), told
    await trail(place).append(story())
    code, told = await keyturn(place, "query", "--limit", "2")
    assert (code, told.splitlines()) == (0, [DENIED, LEFT, "these are the newest 2; --limit shows more, --since and --until others"])


async def test_times_go_back_days_and_each_hint_is_told_once_and_what_is_upside_down_is_refused(place: Place) -> None:
    now = datetime.now(UTC)
    await trail(place).append([row("old", at=now - timedelta(days=4)), row("young", at=now - timedelta(days=1))])
    code, told = await keyturn(place, "query", "--since", "2d")
    assert (code, [line.partition(" ")[0] for line in told.splitlines()]) == (0, ["2"]), told
    code, told = await keyturn(place, "query", "--since", "3d", "--until", "2d12h")
    assert (code, told.count("times are in UTC")) == (0, 1), told
    for command in (("query",), ("export", "-o", "-")):
        code, told = await keyturn(place, *command, "--since", "1h", "--until", "2h")
        assert (code, "--since has to be before --until" in told) == (2, True), told


async def test_a_row_that_holds_no_text_is_named_and_others_are_told(place: Place) -> None:
    await trail(place).append(story())
    await unlocked(place)
    odd = "target = CAST(x'ff00fe' AS TEXT)" if place.server is None else "target = repeat('x', 9000000)"
    await place.execute(f"UPDATE secret_access_log SET {odd} WHERE seq = 5")
    code, told = await keyturn(place, "query", "--actor", "operator/b")
    assert (code, told.startswith("keyturn: the audit trail is not as it was written: row 5: it ")) == (1, True), told
    code, told = await keyturn(place, "query", "--actor", "operator/a")
    assert (code, [line for line in told.splitlines() if line[:1].isdigit()]) == (0, [CREATED, PASSED, LEFT]), told


async def test_rows_come_whole_as_json_those_that_settle_too(place: Place) -> None:
    await trail(place).append(story())
    code, told = await keyturn(place, "query", "--json", "--object", VAULT)
    assert (code, told.count('"settles":"pass"'), len(told.splitlines())) == (0, 1, 3), told
