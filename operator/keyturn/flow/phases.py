"""Times the steps of a sync where they are defined, so that the sentence in ``flow/sync.py`` stays one."""

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from keyturn.flow.world import World

_P = ParamSpec("_P")
_T = TypeVar("_T")


def timed(phase: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Tells the telemetry how long a step took, well or not. The step's last argument is the world."""

    def around(step: Callable[_P, _T]) -> Callable[_P, _T]:
        @wraps(step)
        def run(*given: _P.args, **named: _P.kwargs) -> _T:
            began = time.monotonic()
            try:
                return step(*given, **named)
            finally:
                cast("World", given[-1]).telemetry.passed(phase, time.monotonic() - began)

        return run

    return around


def awaited(phase: str) -> Callable[[Callable[_P, Awaitable[_T]]], Callable[_P, Awaitable[_T]]]:
    """The same for a step that awaits ports: what it waits for counts."""

    def around(step: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
        @wraps(step)
        async def run(*given: _P.args, **named: _P.kwargs) -> _T:
            began = time.monotonic()
            try:
                return await step(*given, **named)
            finally:
                cast("World", given[-1]).telemetry.passed(phase, time.monotonic() - began)

        return run

    return around
