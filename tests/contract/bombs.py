"""Answers that AWS would never give, as long as they may be, and what Python takes for them."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.providers.aws import BATCH_LIMIT, PAGE_LIMIT
from keyturn.providers.aws_json import Batch, Description, Nothing, Page, TaggedPage, Versions
from keyturn.providers.dial import LIMIT


def filled(before: str, part: str, size: int, after: str) -> bytes:
    """As much of it as goes into an answer of this size."""
    return (before + ",".join([part] * ((size - len(before) - len(after)) // (len(part) + 1))) + after).encode()


def distinct(before: str, part: str, size: int, after: str) -> bytes:
    count = (size - len(before) - len(after)) // (len(part % 0) + 8)
    return (before + ",".join(part % number for number in range(count)) + after).encode()


BOMBS: list[tuple[type, bytes]] = [
    (Batch, filled('{"SecretValues":[', "{}", BATCH_LIMIT, "]}")),
    (Batch, filled('{"Errors":[', "{}", BATCH_LIMIT, "]}")),
    (Batch, filled('{"SecretValues":[],"x":[', "{}", BATCH_LIMIT, "]}")),
    (Batch, distinct('{"SecretValues":[],"x":{', '"%x":[]', BATCH_LIMIT, "}}")),
    (Page, filled('{"SecretList":[', "{}", PAGE_LIMIT, "]}")),
    (Page, filled('{"SecretList":[{"SecretVersionsToStages":{"v":[', '"ab"', PAGE_LIMIT, "]}}]}")),
    (Page, distinct('{"SecretList":[{"SecretVersionsToStages":{', '"%x":[]', PAGE_LIMIT, "}}]}")),
    (TaggedPage, filled('{"SecretList":[{"Tags":[', '{"Key":""}', PAGE_LIMIT, "]}]}")),
    (TaggedPage, filled('{"SecretList":[{"x":[', "[]", PAGE_LIMIT, "]}]}")),
    (Description, filled('{"Tags":[', '{"Key":""}', LIMIT, "]}")),
    (Versions, filled('{"Versions":[', '{"VersionId":""}', LIMIT, "]}")),
    (Versions, filled('{"Versions":[{"VersionId":"","VersionStages":[', '"ab"', LIMIT, "]}]}")),
    (Nothing, filled('{"x":[', "{}", LIMIT, "]}")),
    (Nothing, b"[" * LIMIT),
]


@contextmanager
def traced() -> Iterator[list[int]]:
    """How many bytes Python took at most, above what it had."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
