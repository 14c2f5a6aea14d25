"""How much one turn may take into its hands: many that take more at once would cost the process its life."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keyturn.flow.shelf import Answer
from keyturn.model.errors import Invalid
from keyturn.model.material import Value

MOST: Final = 4 << 20
"""Bytes. A Secret holds 1 MiB, and what it is made of may be some times as much."""


@dataclass(slots=True)
class Load:
    """What one turn still can bear, in bytes."""

    left: int = MOST

    def add(self, answers: Iterable[Answer]) -> None:
        """Takes the values among these. Raises `Invalid` where they are too much."""
        for answer in answers:
            if isinstance(answer, Value):
                self.left -= len(answer.data)
        if self.left < 0:
            raise Invalid(f"it draws on values of more than {MOST >> 20} MiB together; split it into several")
