"""How much one may hold of what many share: never more than is left for all others. Counts nothing itself."""

from typing import Final

_NEWCOMERS: Final = 3
"""How much of a thing may be held by all who hold some of it, beside each part that is free, so that a newcomer gets his first."""


def may_take(held: int, free: int, more: int = 1) -> bool:
    """Says that one who holds ``held`` may take ``more`` of the ``free``: after it he holds no more than is free.

    Alone he gets a half, a second one a quarter, and whoever comes finds something. Who holds nothing may have the last that is free.
    """
    return more <= free and (not held or held + more <= free - more)


def may_draw(held: int, own: int, free: int) -> bool:
    """The same for one more worker at a provider, where ``held`` are at work on it, ``own`` of them for the namespace that asks.

    One namespace's crowd must not use up what a provider gets: others that have nobody there come in until a quarter is left.
    """
    return may_take(held, free) or (not own and 0 < held + 1 <= _NEWCOMERS * (free - 1))
