"""Who gives his seat to whom, where more want one than there are: in the end each namespace has as many as any other that wants more."""

from collections.abc import Mapping


def giver(held: Mapping[str, int], taker: str) -> str:
    """The namespace that gives one of its seats to ``taker``, since it has two more at least; '' where none has."""
    most = max(sorted(held), key=lambda namespace: held[namespace], default="")
    return most if held.get(most, 0) > held.get(taker, 0) + 1 else ""
