"""What is said of an audit trail that takes nothing, to whoever runs Keyturn and to everybody else."""

import pytest

from keyturn.decide.audit_told import refusal, told
from keyturn.model.checkpoint import AuditKeyLost, AuditTampered, AuditTruncated
from keyturn.model.errors import AccessDenied, AuditUnavailable, KeyturnError, Unavailable
from keyturn.store.failures import NO_TABLES

COMMAND = "restore the right one, or: kubectl -n keyturn-system exec deployment/keyturn -- keyturn audit acknowledge-loss --anchor 2:00"


@pytest.mark.parametrize("kind", [AuditTruncated, AuditKeyLost, AuditTampered])
def test_what_a_person_has_to_mend_begins_with_its_word_for_them_and_names_them_for_others(kind: type[KeyturnError]) -> None:
    assert told(kind(COMMAND)) == f"{kind.__name__}: {COMMAND}"
    assert told(kind(told(kind(COMMAND)))) == f"{kind.__name__}: {COMMAND}"
    said = refusal(kind(COMMAND))
    assert said.startswith("ask the operators of Keyturn: ")
    assert f"({kind.__name__})" in said
    assert [word for word in ("keyturn audit", "kubectl", "keyturn-system") if word in said] == []


@pytest.mark.parametrize(
    "error",
    [
        AuditUnavailable("/var/lib/keyturn/audit.spool cannot be written"),
        AccessDenied("the database does not let this user do it; run keyturn db upgrade, which grants what is needed"),
        Unavailable(NO_TABLES),
        Unavailable("another session holds its table fence: pid 7, user 'o'; let it end, or end it with pg_terminate_backend"),
    ],
)
def test_nothing_that_is_for_whoever_has_the_database_is_told_to_others(error: KeyturnError) -> None:
    assert told(error) == str(error)
    assert refusal(error) == (
        "ask the operators of Keyturn: its audit trail takes no entry, so that nothing is changed, and its log says what helps"
    )


def test_an_outage_is_told_to_everybody_as_it_is() -> None:
    error = Unavailable("the database gave no answer in time")
    assert told(error) == refusal(error) == "the database gave no answer in time"
