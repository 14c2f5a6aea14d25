"""What a tenant edits, makes and deletes in a loop, on a real API server: which rows come of it in both databases, and which never lack."""

import time

from cluster.test_audit_story import Stage, settings, stage
from cluster.trails import Row
from cluster.waiting import eventually
from keyturn.flow.world import SPECS_OF_OBJECT

__all__ = ["settings", "stage"]

EDITS = 40
AT_ONCE = int(SPECS_OF_OBJECT.burst)


def test_a_loop_of_edits_and_one_of_objects_make_few_rows_and_the_last_spec_is_told(stage: Stage) -> None:
    began_s = time.monotonic()
    stage.vault.put("app/db", password=stage.shop.value("first"))
    stage.vault.provider(stage.vault.log_in_by_approle())
    stage.vault.provider_ready()
    last = edited_again_and_again(stage)
    stage.vault.order("app")
    stage.wait("app", "secret.create", outcome="success")
    read = stage.wait("app", "provider.read", outcome="success")
    assert read["details"]["generation"] == str(last), "who reads does not wait for the look"
    come_and_gone(stage)
    told = generations(stage)
    assert told[:AT_ONCE] == list(range(1, AT_ONCE + 1))
    assert len(told) <= AT_ONCE + (time.monotonic() - began_s) / SPECS_OF_OBJECT.each_s
    stage.operator.restart()
    eventually(lambda: generations(stage)[-1] == last, what=lambda: str(configured(stage)))
    *_, before, newest = configured(stage)
    assert newest["details"]["more"] == f"generations {int(before['details']['generation']) + 1} to {last - 1} are no rows"
    checks = stage.trail.rows("--object", provider(stage), "--action", "provider.check", "--outcome", "success")
    assert len(checks) < EDITS
    stage.shop.remove("app")
    stage.wait("app", "managedsecret.end", outcome="success")
    ended = {row["subject"] for row in stage.trail.rows("--action", "managedsecret.end")}
    assert ended == {stage.name("app")}, "nothing came of the others"


def edited_again_and_again(stage: Stage) -> int:
    """So that each spec that is looked at is; the last generation."""
    for turn in range(1, EDITS):
        access = "ReadWrite" if turn % 2 else "ReadOnly"
        made = stage.shop.api.merge("SecretProvider", stage.shop.namespace, "vault", {"spec": {"access": access}})
        generation = int(made["metadata"]["generation"])
        assert generation == turn + 1
        if generation <= AT_ONCE:
            eventually(lambda: status_generation(stage) == generation)  # noqa: B023  # asked before the next turn
    return EDITS


def come_and_gone(stage: Stage) -> None:
    """Objects that are denied, of which none ever has a Secret."""
    for number in range(5):
        name = f"denied-{number}"
        stage.vault.order(name, key="other/db")
        stage.wait(name, "sync.deny", outcome="denied")
        stage.shop.remove(name)


def status_generation(stage: Stage) -> int:
    found = stage.shop.api.get("SecretProvider", stage.shop.namespace, "vault")
    return int(found.get("status", {}).get("observedGeneration", 0))


def provider(stage: Stage) -> str:
    return f"SecretProvider/{stage.shop.namespace}/vault"


def configured(stage: Stage) -> list[Row]:
    return stage.trail.rows("--object", provider(stage), "--action", "provider.configure")


def generations(stage: Stage) -> list[int]:
    return [int(row["details"]["generation"]) for row in configured(stage)]
