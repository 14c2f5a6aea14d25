"""docs/gitops/argocd-health.lua, run by the Lua that Argo CD speaks, agrees with kstatus on every status that we make."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.lua51 import LuaRuntime

from keyturn.decide import summary
from keyturn.model.ids import Kind, ObjectRef, SecretRef
from keyturn.model.material import SourceRef
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.order import Entry, FakeConfig, Order, ProviderOrder, ProviderRef, Target
from keyturn.model.plan import Desired, Live
from keyturn.model.status import DENIALS, REASONS, Polarity, ProviderStatus, Status, provider_status_as_dict, status_as_dict
from kstatus import Verdict, compute

SCRIPT = (Path(__file__).parents[2] / "docs" / "gitops" / "argocd-health.lua").read_text()
HEALTH = {Verdict.CURRENT: "Healthy", Verdict.FAILED: "Degraded", Verdict.IN_PROGRESS: "Progressing"}
BEGAN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)

Step = Callable[[Managed, datetime], Status]

ENTRY = Entry("password", ProviderRef(Kind.SECRET_PROVIDER, "vault"), SourceRef("shop/db"))
ORDER = Order((ENTRY,), Target("app"))
LIVE = Live(SecretRef("shop", "app"), "s", "7", {}, {}, (), {})
DESIRED = Desired(LIVE.ref, "Opaque", {}, {}, {}, "k1:abc", None, "keyturn/app")

MANAGED = Managed(ObjectRef(Kind.MANAGED_SECRET, "shop", "app"), "u", 1, "1", deleting=False, order=ORDER, status=Status())
PROVIDER = ProviderObject(
    ObjectRef(Kind.SECRET_PROVIDER, "shop", "vault"),
    "u",
    1,
    "1",
    deleting=False,
    order=ProviderOrder(FakeConfig({})),
    status=ProviderStatus(),
)

UNSEEN = {"metadata": {"generation": 1}}


@pytest.fixture(scope="module")
def health() -> Callable[[dict[str, Any]], tuple[str, str]]:
    """Status and message by the script; an object comes to it as JSON does, without what is None."""
    lua = LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    script = lua.eval(f"function(obj) {SCRIPT} end")

    def ask(obj: dict[str, Any]) -> tuple[str, str]:
        found = script(lua.table_from(json.loads(json.dumps(obj)), recursive=True))
        assert set(found) == {"status", "message"}
        return found.status, found.message

    return ask


def as_object(about: Managed | ProviderObject) -> dict[str, Any]:
    raw = status_as_dict(about.status) if isinstance(about, Managed) else provider_status_as_dict(about.status)
    status = {name: value for name, value in raw.items() if value not in (None, [])}
    return {"kind": str(about.ref.kind), "metadata": {"name": about.ref.name, "generation": about.generation}, "status": status}


def expected(obj: dict[str, Any]) -> str:
    verdict = compute(obj)
    is_seen = obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
    is_suspended = any(c["type"] == "Suspended" and c["status"] == "True" for c in obj["status"].get("conditions", ()))
    return "Suspended" if is_seen and is_suspended else HEALTH[verdict]


def steps() -> st.SearchStrategy[Step]:
    failing = st.sampled_from(sorted(name for name, reason in REASONS.items() if reason.polarity is not Polarity.NONE))

    def failed(reason: str, denied_long: bool) -> Step:  # noqa: FBT001  # drawn, not written
        stalled = REASONS[reason].polarity is Polarity.STALLED or (denied_long and reason in DENIALS)
        return lambda managed, now: summary.failed(managed, reason, "shop/db: it is not well", now, stalled=stalled)

    return st.one_of(
        st.builds(failed, failing, st.booleans()),
        st.just(lambda managed, now: summary.synced(managed, ORDER, DESIRED, LIVE, now)),
        st.just(lambda managed, now: summary.kept(managed, ORDER, LIVE, now)),
        st.just(summary.removed),
        st.just(summary.suspended),
    )


@given(st.lists(st.tuples(steps(), st.booleans()), min_size=1, max_size=8))
def test_it_agrees_with_kstatus_whatever_a_managed_secret_went_through(
    health: Callable[[dict[str, Any]], tuple[str, str]], walk: list[tuple[Step, bool]]
) -> None:
    managed, now = MANAGED, BEGAN
    for step, is_new_spec in walk:
        now += timedelta(seconds=1)
        if is_new_spec:
            managed = replace(managed, generation=managed.generation + 1)
            assert health(as_object(managed))[0] == expected(as_object(managed)) == "Progressing"
        managed = replace(managed, status=step(managed, now))
        assert health(as_object(managed))[0] == expected(as_object(managed))


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_it_agrees_with_kstatus_on_every_reason_of_a_provider(health: Callable[[dict[str, Any]], tuple[str, str]], reason: str) -> None:
    checked = replace(PROVIDER, status=summary.provider_checked(PROVIDER, reason, "logged in", BEGAN))
    status, message = health(as_object(checked))
    assert status == expected(as_object(checked))
    assert message == checked.status.conditions[0].message


@pytest.mark.parametrize("obj", [as_object(MANAGED), UNSEEN, UNSEEN | {"status": {"observedGeneration": 1}}])
def test_what_nobody_has_looked_at_is_progressing(health: Callable[[dict[str, Any]], tuple[str, str]], obj: dict[str, Any]) -> None:
    assert health(obj) == ("Progressing", "Keyturn has not looked at this generation yet")
