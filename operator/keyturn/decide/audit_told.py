"""Why the audit trail takes nothing, told twice: all of it to whoever runs Keyturn, and to others that it is not theirs to mend.

Conditions and events of objects are read by tenants, to whom a command for the operator's pod says nothing but where that runs.
"""

import re
from typing import Final

from keyturn.model.checkpoint import AuditKeyLost, AuditTampered, AuditTruncated
from keyturn.model.errors import KeyturnError, ProviderError

ALARMS: Final[dict[type[KeyturnError], str]] = {each: each.__name__ for each in (AuditTruncated, AuditKeyLost, AuditTampered)}
"""What no waiting mends, by the word that a warning has for it."""

_FOR_OPERATORS: Final = re.compile(r"\bkeyturn [a-z]|\bpg_terminate_backend\b")
"""Commands of ours, and who holds up the database, which only somebody with access to it can end."""


def told(error: KeyturnError) -> str:
    """For the log and the operator's own namespace; begins with its word where it is one of `ALARMS`."""
    word, text = ALARMS.get(type(error), ""), str(error)
    return f"{word}: {text}" if word and not text.startswith(f"{word}:") else text


def refusal(error: KeyturnError) -> str:
    """What whoever asked is refused with: of an outage what it is, since that passes; of all else whom to ask."""
    if isinstance(error, ProviderError) and not _FOR_OPERATORS.search(str(error)):
        return str(error)
    word = ALARMS.get(type(error), "")
    return (
        f"ask the operators of Keyturn: its audit trail takes no entry{f' ({word})' if word else ''}, so that nothing is changed, and its"
        " log says what helps"
    )
