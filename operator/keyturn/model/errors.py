"""Every way in which work can fail, as one tree.

    KeyturnError
    ├── Rejected                 the spec asks for what cannot be
    │   └── KeyConflict
    ├── Refused                  the rules, or another owner, say no
    │   └── TargetNotOwned  TargetConflict  TargetImmutable  ProviderNotAllowed
    ├── Pending                  another object is not there yet
    │   └── ProviderNotFound  ProviderNotReady
    ├── SourceMissing            what was asked for is not at the provider
    │   └── SourceNotFound  SourcePartlyMissing  SourceDeleted
    ├── ProviderError            the provider did not give a value
    │   └── NotFound  AccessDenied  AuthFailed  Throttled  Unavailable  Invalid  Conflict  Disabled
    ├── ClusterError             the API server did not do what we asked
    │   ├── ClusterConflict (AlreadyExists)  ObjectGone  Vanished  Unprocessable
    │   └── NamespaceTerminating  Forbidden  Busy (Silent)  Expired
    ├── NotLeading               another replica does the work          (Fenced: as the database has it)
    ├── AuditUnavailable         no audit, no change                    (Unread: and so no value was read)
    ├── FingerprintKeyChanged    no Secret is written under a strange key
    └── MissingExtra             a part of the product is not installed

Edges add their own below the root, where nothing but a message follows from them.

Steps raise; ``flow/settle.py`` catches, and ``flow/check.py`` for providers. ``reason`` is the word that users see in conditions
(``model/status.py`` has what follows from it). The text of an error is ours, never a provider's:
a provider's prose can quote the request, and so a value.
"""

from enum import Enum
from typing import ClassVar

from keyturn.model.denial import Denial


class Blame(Enum):
    """Who has to act."""

    USER = "User"
    OPERATOR = "Operator"
    UPSTREAM = "Upstream"


class KeyturnError(Exception):
    """The root. ``str(error)`` is safe to show to anybody who may read the object."""

    reason: ClassVar[str] = "Progressing"
    retry: ClassVar[bool] = True
    blame: ClassVar[Blame] = Blame.OPERATOR


class Rejected(KeyturnError):
    """The spec asks for what cannot be; the message names the field and the remedy."""

    reason = "InvalidSpec"
    retry = False
    blame = Blame.USER


class KeyConflict(Rejected):
    """Two sources end in one key."""

    reason = "KeyConflict"


class Refused(KeyturnError):
    """The rules, or another owner, forbid it. Raised as one of its subclasses."""

    reason = "Refused"
    retry = False
    blame = Blame.USER


class TargetNotOwned(Refused):
    """The Secret of the target's name is somebody else's."""

    reason = "TargetNotOwned"


class TargetConflict(Refused):
    """Another writer, or another ManagedSecret, claims the Secret."""

    reason = "TargetConflict"


class TargetImmutable(Refused):
    """The Secret is immutable and would have to change."""

    reason = "TargetImmutable"


class ProviderNotAllowed(Refused):
    """The provider does not admit this namespace, or the default provider does not."""

    reason = "ProviderNotAllowed"


class Pending(KeyturnError):
    """Another object has to come or to heal first; its event wakes us."""

    reason = "Progressing"
    blame = Blame.USER


class ProviderNotFound(Pending):
    """The provider object that the spec names is not there."""

    reason = "ProviderNotFound"


class ProviderNotReady(Pending):
    """The provider object is there, and its log-in fails."""

    reason = "ProviderNotReady"


class SourceMissing(KeyturnError):
    """What the spec asks for is not at the provider. Raised as one of its subclasses."""

    reason = "SourceNotFound"
    blame = Blame.USER


class SourceNotFound(SourceMissing):
    """Nothing was ever written, and a source is missing."""

    reason = "SourceNotFound"


class SourcePartlyMissing(SourceMissing):
    """Some of the sources of a Secret that was written are gone."""

    reason = "SourcePartlyMissing"


class SourceDeleted(SourceMissing):
    """All sources of a Secret that was written are gone."""

    reason = "SourceDeleted"


class ProviderError(KeyturnError):
    """The provider did not give what was asked for.

    ``request_id`` is the provider's own name for the failed call, where it gives one;
    ``retry_after`` is in seconds, where the provider asks for a pause.
    """

    reason = "ProviderUnavailable"
    blame = Blame.UPSTREAM

    def __init__(self, message: str, *, request_id: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{message} (request {request_id})" if request_id else message)
        self.request_id = request_id
        self.retry_after = retry_after


class NotFound(ProviderError):
    """The provider says that there is no such secret (soft-deleted counts)."""

    reason = "SourceNotFound"
    blame = Blame.USER


class AccessDenied(ProviderError):
    """Logged in, but not allowed to read it."""

    reason = "AccessDenied"
    blame = Blame.USER


class AuthFailed(ProviderError):
    """The log-in itself failed."""

    reason = "AuthFailed"
    blame = Blame.USER


class Throttled(ProviderError):
    """The provider asks us to slow down."""

    reason = "Throttled"


class Unavailable(ProviderError):
    """No answer, or a server's error."""

    reason = "ProviderUnavailable"


class Invalid(ProviderError):
    """What the provider holds cannot be used: no JSON, bad base64, too large."""

    reason = "SourceInvalid"
    blame = Blame.USER


class Conflict(ProviderError):
    """A write at the provider met another one."""


class Disabled(ProviderError):
    """Switched off at the provider; the last good value stays."""

    reason = "SourceDisabled"
    blame = Blame.USER


class ClusterError(KeyturnError):
    """The API server did not do what we asked. ``status`` is the HTTP status, 0 without an answer."""

    reason = "Progressing"

    def __init__(self, message: str, *, status: int = 0, causes: tuple[str, ...] = (), retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.causes = causes
        self.retry_after = retry_after


class ClusterConflict(ClusterError):
    """409: the object moved, was replaced, or is there already. Look again."""


class AlreadyExists(ClusterConflict):
    """409 on a create: a Secret of that name is there."""


class ObjectGone(ClusterError):
    """404: the object is not there any more."""


class Vanished(ClusterError):
    """The ManagedSecret itself is gone or going: whatever was to be done for it, is not."""

    retry = False


class Unprocessable(ClusterError):
    """422: the API server refuses the content; ``causes`` holds the field paths."""


class NamespaceTerminating(ClusterError):
    """403 because the namespace is going away: no denial, and nothing to do."""

    retry = False


class Forbidden(ClusterError):
    """403: the operator lacks a right; the message names it. ``denial`` is by what, where it is known."""

    blame = Blame.USER
    denial = Denial.OTHER


class Busy(ClusterError):
    """429, 5xx, a lost connection or a time-out: the same again, later."""


class Silent(Busy):
    """A watch brought nothing for so long that it is opened anew. Where nothing happens this is no fault."""


class Expired(ClusterError):
    """410: the watch's position is too old; list anew."""


class NotLeading(KeyturnError):
    """This replica may not act now. Nothing is said of it: the object stays for whoever leads."""


class Fenced(NotLeading):
    """Another holder of our office began a term in the database after ours."""


class AuditUnavailable(KeyturnError):
    """The audit trail takes no entry, so nothing may be changed."""

    reason = "AuditUnavailable"


class Unread(AuditUnavailable):
    """The same, met before a read: no change is known of, so that what stands may stand in silence."""


class FingerprintKeyChanged(KeyturnError):
    """The fingerprint key is not the one that the cluster's Secrets were written with."""


class MissingExtra(KeyturnError):
    """A part that is not installed; the message names the command that installs it."""

    reason = "InvalidSpec"
    retry = False
    blame = Blame.USER

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'keyturn[{extra}]'")
        self.extra = extra
