"""What a tenant's PostgreSQL says, judged message by message before libpq has it.

libpq computes as many rounds as a server asks for before it lets us in, in the event loop's thread, and keeps whatever it is
told in memory. Knows nothing of connections: bytes go in, and those that libpq may have come out.
"""

import re
from typing import Final

MOST_ROUNDS: Final = 100_000
"""Of PBKDF2 at a log-in: a tenth of a second. PostgreSQL's scram_iterations is 4096 by default, the least of RFC 7677."""

MOST_PARTS: Final = 1 << 18
"""Messages, and fields of rows, in an answer. The store fetches 200 rows at once, and libpq makes 16 bytes of each field of two."""

LONGEST_MESSAGE: Final = 24 << 20
_MOST_SETTINGS: Final = 1000
"""That a server tells of over a connection: libpq keeps a list, and looks through it for each."""

# The longest that libpq takes before it is let in.
_AT_LOG_IN: Final = {b"R": 2000, b"v": 2000, b"E": 30_000}
# Nothing of what is copied, called as a function or listened for: we do none of it.
_LATER: Final = frozenset(b"SKZENTDCI123tns")

_OK, _PASSWORD, _MD5, _SCRAM, _SCRAM_GOES_ON, _SCRAM_ENDS = 0, 3, 5, 10, 11, 12
_AFTER: Final = {_PASSWORD: {_OK}, _MD5: {_OK}, _SCRAM: {_SCRAM_GOES_ON}, _SCRAM_GOES_ON: {_SCRAM_ENDS}, _SCRAM_ENDS: {_OK}}
# Without a channel to bind to: TLS is not libpq's here, and it would take the offer for a sign that TLS was taken away.
_MECHANISM: Final = b"SCRAM-SHA-256\0"
_CHALLENGE: Final = re.compile(rb"r=[\x21-\x2b\x2d-\x7e]+,s=[A-Za-z0-9+/]+={0,2},i=([1-9][0-9]{0,9})")

_STRANGE: Final = "it speaks no PostgreSQL that is known here"


class Unfit(OSError):
    """What libpq must not have. Its text is ours."""


class Listener:
    """To one connection of a server. Use `hear`, and `ask` whenever we say something."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._next: set[int] = {_OK, _PASSWORD, _MD5, _SCRAM}
        self._is_in = self._is_over = False
        self._left = self._parts = self._settings = 0

    def ask(self) -> None:
        """What comes now is another answer."""
        self._parts = 0

    def hear(self, data: bytes) -> bytes:
        """What libpq may have of it by now. Raises `Unfit`."""
        admitted, rest = (b"", data) if self._is_in else self._let_in(data)
        self._count(rest)
        return admitted + rest

    def _let_in(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the log-in libpq may have, and what comes after it."""
        admitted, rest = b"", b""
        self._held += data
        while not (self._is_in or self._is_over) and (message := self._whole()):
            admitted += self._admitted(message)
        if self._is_in:
            rest = bytes(self._held)
            self._held.clear()
        return admitted, rest

    def _whole(self) -> bytes:
        """The next message of the log-in; none while it is not all there."""
        if len(self._held) < 5:
            return b""
        size = int.from_bytes(self._held[1:5], "big")
        if not 4 <= size <= _AT_LOG_IN.get(bytes(self._held[:1]), 0):
            raise Unfit(_STRANGE)
        if len(self._held) <= size:
            return b""
        message = bytes(self._held[: size + 1])
        del self._held[: size + 1]
        return message

    def _admitted(self, message: bytes) -> bytes:
        if message[:1] == b"E":
            self._is_over = True
        if message[:1] != b"R":
            return message
        kind, body = int.from_bytes(message[5:9], "big"), message[9:]
        if len(message) < 9 or kind not in self._next:
            raise Unfit("its log-in is by a way, or in an order, that is not known here; use scram-sha-256")
        self._next = _AFTER.get(kind, set())
        self._is_in = kind == _OK
        if kind == _SCRAM:
            return _offer(body)
        if kind == _SCRAM_GOES_ON:
            _check_challenge(body)
        return message

    def _count(self, data: bytes) -> None:
        """Goes from head to head; of a row that is its number of fields too."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = _head(self._held) - len(self._held)
                self._held += data[at : at + step]
                if len(self._held) == _head(self._held):
                    self._begin()
            at += step

    def _begin(self) -> None:
        kind, size = self._held[0], int.from_bytes(self._held[1:5], "big")
        if kind not in _LATER or not len(self._held) - 1 <= size <= LONGEST_MESSAGE:
            raise Unfit(_STRANGE)
        self._parts += 1 + int.from_bytes(self._held[5:7], "big")
        self._settings += kind == ord("S")
        if self._parts > MOST_PARTS or self._settings > _MOST_SETTINGS:
            raise Unfit("its answer has more rows than were asked for")
        self._left = size + 1 - len(self._held)
        self._held.clear()


def _head(held: bytearray) -> int:
    return 7 if held[:1] == b"D" else 5


def _offer(body: bytes) -> bytes:
    """The one mechanism that is taken, as the server's only one."""
    if _MECHANISM not in (each + b"\0" for each in body.split(b"\0")):
        raise Unfit("its log-in has no SCRAM-SHA-256; set password_encryption to scram-sha-256, and the password anew")
    offer = _SCRAM.to_bytes(4, "big") + _MECHANISM + b"\0"
    return b"R" + (len(offer) + 4).to_bytes(4, "big") + offer


def _check_challenge(body: bytes) -> None:
    found = _CHALLENGE.fullmatch(body)
    if found is None:
        raise Unfit(_STRANGE)
    if int(found[1]) > MOST_ROUNDS:
        raise Unfit(f"its log-in asks for more than {MOST_ROUNDS} rounds; set scram_iterations lower, and the password anew")
