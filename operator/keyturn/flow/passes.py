"""What the audit trail says of reads: for one object, or in a pass for all who want a refresh."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from keyturn.flow.audit import Result, is_denial
from keyturn.flow.shelf import Answer
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import ProviderError
from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef, Survey
from keyturn.model.objects import ProviderObject

REFRESH: Final = "refresh"
NAMED: Final = 100
"""So many names of what is asked for stand in an intent; its count has them all."""


def reading(provider: ProviderObject, refs: Sequence[SourceRef], who: ObjectRef | None = None) -> AuditEntry:
    """The entry of a read of these for ``who``, whose turn has the trigger; without one, in a pass."""
    subject, trigger = (str(who), "") if who else (str(provider.ref), REFRESH)
    return _asking("provider.read", provider, refs, subject, trigger)


def listing(provider: ProviderObject, refs: Sequence[SourceRef]) -> AuditEntry:
    """The entry of a question of which values moved."""
    return _asking("provider.list", provider, refs, str(provider.ref), REFRESH)


def _asking(action: str, provider: ProviderObject, refs: Sequence[SourceRef], subject: str, trigger: str) -> AuditEntry:
    """It says by which spec of the provider: not each of them is a row when it is used."""
    details = {"count": str(len(refs)), "generation": str(provider.generation)}
    return AuditEntry(action, subject, str(provider.ref), trigger, tuple(map(str, refs[:NAMED])), details)


def tell_read(result: Result, refs: Sequence[SourceRef], answers: Mapping[SourceRef, Answer], moved: Collection[SourceRef] | None) -> None:
    """How a read ended; of a pass, ``moved`` names the values that are others than before."""
    failures = [answer for answer in answers.values() if isinstance(answer, ProviderError)]
    if failures and len(failures) == len(answers):
        result.reason, result.is_denied = failures[0].reason, is_denial(failures[0])
    if moved is None and not failures:
        return
    counts = {"asked": str(len(refs)), "answered": str(len(answers) - len(failures)), "failed": str(len(failures))}
    result.details = counts | ({"reasons": ", ".join(sorted({each.reason for each in failures}))} if failures else {})
    if moved is not None:
        result.keys = tuple(sorted(map(str, moved)))


def tell_survey(result: Result, refs: Sequence[SourceRef], survey: Survey, vouched: int) -> None:
    """How many of these are known to be as they were, and how many secrets that went over."""
    result.keys = ()
    result.details = {"asked": str(len(refs)), "unchanged": str(vouched), "listed": str(survey.size)}
