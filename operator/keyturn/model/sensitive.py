"""Bytes that must not be seen: the one type in which secret values travel."""

import hmac
from typing import Never, Self

_HIDDEN = "Sensitive(**********)"


class Sensitive:
    """Secret bytes that never print, pickle, hash, iterate, or compare in variable time.

    ``reveal`` is the only door, so that a search for it finds every place that sees a value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    @classmethod
    def of(cls, text: str) -> Self:
        """Wraps text as UTF-8."""
        return cls(text.encode())

    def reveal(self) -> bytes:
        """Gives the bytes in clear."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sensitive):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    # Hashing would make a value a dictionary key, and its hash an oracle.
    __hash__ = None  # type: ignore[assignment]  # how Python spells "not hashable"

    def __repr__(self) -> str:
        return _HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __reduce_ex__(self, protocol: object) -> Never:
        message = "a Sensitive value cannot be pickled or copied"
        raise TypeError(message)
