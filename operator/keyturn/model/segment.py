"""Segments: the oldest rows of the audit trail, which were moved out of the database into a file."""

from dataclasses import dataclass

from keyturn.model.audit import Head


@dataclass(frozen=True, slots=True)
class Segment:
    """What was moved, as the database remembers it: rows ``first`` to ``last``, the hash of the last, and what the file has to be.

    ``digest`` is the SHA-256 of the file called ``name``; ``note`` is a signed note of all this, ``at`` a time in UTC as text.
    """

    first: int
    last: int
    head: bytes
    count: int
    digest: bytes
    name: str
    note: str
    at: str

    @property
    def end(self) -> Head:
        """The end that the chain had with its last row."""
        return Head(self.last, self.head)
