"""Requests to Google's token services and to the metadata server, by google-auth's HTTP, and the token that comes of them.

google-auth blocks, and asks again by itself where it is refused: so it works in some threads of its own, and the first refusal
ends it. What a refusal says is never told.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self, TypeVar

from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from keyturn.model.errors import AuthFailed, ProviderError, Throttled, Unavailable
from keyturn.model.google import GooglePlaces
from keyturn.model.sensitive import Sensitive
from keyturn.providers.fair_threads import Threads
from keyturn.providers.silence import silent

# At DEBUG these libraries log requests and answers, with tokens and values in them.
logging.getLogger("google").setLevel(logging.WARNING)

CONNECT_S: Final = 3.0
READ_S: Final = 10.0
LONGEST_PAUSE_S: Final = 3600.0

_T = TypeVar("_T")

_THREADS: Final = Threads("keyturn-google", 16)


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """Who we are at Google, for so many seconds."""

    secret: Sensitive
    length_s: float


class Http:
    """google-auth's HTTP, with our limits: no redirect is followed, and no refusal is asked again.

    ``what`` is asked for, in words that go on after "Google refuses". ``machines``: it is the metadata server that is asked, beside
    this machine, where no proxy leads; its silence is told with these words. A context: what it opened is closed with it.
    """

    def __init__(self, places: GooglePlaces, what: str, *, machines: str = "") -> None:
        self._request = Request()
        self._what = what
        self._server = "the metadata server" if machines else "Google's token service"
        self._machines = machines
        self._authority = places.authority
        # A proxy for the way out knows no metadata server.
        self._request.session.trust_env = not machines

    def __call__(self, url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Any:
        more: dict[str, Any] = {"timeout": (CONNECT_S, READ_S), "allow_redirects": False}
        if self._authority:
            more["verify"] = self._authority
        answer, told, is_unreadable = None, "", False
        try:
            answer = self._request(url, method, body, headers, **more)
        except GoogleAuthError as error:
            told = f"{self._server} gave no answer; {self._machines}" if self._machines else silent(url, error, whose=self._server)
        except OSError:
            # Not of the network: those errors are google-auth's by now.
            is_unreadable = True
        if is_unreadable:
            raise AuthFailed(f"{self._authority}, which holds whom to trust at Google, cannot be read")
        if answer is None:
            raise Unavailable(told)
        if answer.status != 200:
            self._refuse(answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._request.session.close()

    def _refuse(self, answer: Any) -> NoReturn:
        if answer.status == 429:
            pause = answer.headers.get("Retry-After", "")
            raise Throttled(
                f"{self._server} asks for a pause",
                retry_after=min(float(pause), LONGEST_PAUSE_S) if pause.isascii() and pause.isdigit() else None,
            )
        if 400 <= answer.status < 500 and answer.status != 408:
            raise AuthFailed(f"Google refuses {self._what} (HTTP {answer.status})")
        raise Unavailable(f"{self._server} failed (HTTP {answer.status})")


async def in_thread(whose: str, work: Callable[[], _T], threads: Threads = _THREADS) -> _T:
    """``whose`` share of the threads it takes: a tenant's namespace, or an admin's provider.

    Raises a `ProviderError`: a new one, since frames of these libraries hold keys.
    """
    found = await threads.run(whose, lambda: _tried(work))
    if isinstance(found, ProviderError):
        raise found
    return found


def _tried(work: Callable[[], _T]) -> _T | ProviderError:
    try:
        return work()
    except ProviderError as error:
        error.__context__ = None
        return error.with_traceback(None)
    except (GoogleAuthError, ValueError, KeyError, TypeError, OverflowError):
        # Of all of these nothing is told: they quote what they could not read.
        return AuthFailed("the log-in at Google came to nothing: its credential cannot be used, or its answer holds no token")


def as_token(word: Any) -> Sensitive:
    """A token as an answer has it. Raises `AuthFailed` where it is none."""
    if not isinstance(word, str) or not word or not all(0x21 <= ord(char) <= 0x7E for char in word):
        raise AuthFailed("Google's token service gave no token")
    return Sensitive.of(word)
