"""A pytest plugin: an async test that leaves a task behind has failed.

A task that outlives what started it works on after its owner is gone: in the operator that is a write that nobody waits for.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

_TURNS = 20  # of the loop: time for what was cancelled to end, and for nothing else
_WATCHED = "_pending_watched"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        hypothesis = getattr(item.obj, "hypothesis", None)
        if hypothesis is None:
            item.obj = watched(item.obj)
        else:
            hypothesis.inner_test = watched(hypothesis.inner_test)


def watched(test: Callable[..., Any]) -> Callable[..., Any]:
    """The same test, which fails where a task that it started is still pending. What is no coroutine stays as it is."""
    if not inspect.iscoroutinefunction(test) or hasattr(test, _WATCHED):
        return test

    @functools.wraps(test)
    async def run(*arguments: Any, **named: Any) -> None:
        before = asyncio.all_tasks()  # those of fixtures, which end them themselves
        await test(*arguments, **named)
        for _ in range(_TURNS):
            if not asyncio.all_tasks() - before:
                return
            await asyncio.sleep(0)
        left = sorted(f"{task.get_name()} ({task.get_coro()})" for task in asyncio.all_tasks() - before)
        raise AssertionError(f"the test left tasks pending: {', '.join(left)}")

    setattr(run, _WATCHED, True)
    return run
