"""Any JSON, and valid specs in which something, somewhere, was replaced, taken out or added."""

from functools import partial
from typing import Any

from hypothesis import strategies as st

from keyturn.model.ids import Kind
from manifests.bases import BASES, Json

_WORDS = st.sampled_from(
    [
        *("1h", "999ms", "0", "", "a" * 300, "{{ x }}", "(", "a_b", "..", "a/../b", "keyturn-x", "SECRET"),
        *("None", "Merge", "Delete", "SecretProvider", "WorkloadIdentity"),
    ]
)


def json_values(text: st.SearchStrategy[str], numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Values of any shape."""
    return st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=8,
    )


WIRE = json_values(st.text(max_size=8) | _WORDS, st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False))
"""What a JSON document can hold and an API server reads."""

WILD = json_values(st.text(max_size=8) | _WORDS | st.sampled_from(["\ud800", "\x00"]), st.integers() | st.just(10**400) | st.floats())
"""And what Python can hold besides."""


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[Kind, Json]:
    """A kind, and a spec that differs from a valid one in one place."""
    kind, spec = BASES[draw(st.sampled_from(sorted(BASES)))]
    return kind, draw(_changed(spec, values))


def _changed(node: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    match node:
        case dict() if node:
            below = [_changed(child, values).map(partial(_with, node, key)) for key, child in node.items()]
            gone = [st.just({k: v for k, v in node.items() if k != key}) for key in node]
            more = st.dictionaries(st.text(max_size=3), values, min_size=1, max_size=1).map(lambda extra: node | extra)
            return st.one_of(*below, *gone, more, values)
        case list() if node:
            return _changed(node[0], values).map(lambda new: [new, *node[1:]]) | st.just([*node, *node]) | values
        case _:
            return values


def _with(node: Json, key: str, value: object) -> Json:
    return node | {key: value}
