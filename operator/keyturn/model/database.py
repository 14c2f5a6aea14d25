"""A `database` provider as ordered. No value is in here, only where each is kept."""

from dataclasses import dataclass

from keyturn.model.ids import KeyRef


@dataclass(frozen=True, slots=True)
class OtherDatabase:
    """Where a database's URL is kept, and the key that opens its values."""

    url: KeyRef
    key: KeyRef


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """``other`` None is the operator's own database."""

    other: OtherDatabase | None = None

    @property
    def credential(self) -> KeyRef | None:
        """What proves who logs in, beside which all else only says where and as whom; None is the operator itself."""
        return self.other.url if self.other else None

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret that is needed to open it."""
        return frozenset((self.other.url, self.other.key)) if self.other else frozenset()
