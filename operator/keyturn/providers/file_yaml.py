"""YAML for secrets: a scalar is the text that stands there, so ``no``, ``0123`` and ``1.10`` stay what they are.

Works on the parser's events: nothing is resolved, no tag makes an object, and what aliases repeat
is bounded. Members that hold others become compact JSON whose scalars are strings.
"""

from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring

import yaml

from keyturn.decide.jsontext import MAX_DEPTH
from keyturn.model.errors import Invalid

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C where the wheel has it: ten times as fast
_MAX_REPEATED = 1 << 20


class _Rendered(str):
    """A node that holds others, as JSON; a plain str is a scalar's own text."""

    __slots__ = ()


def parse_yaml(text: str) -> Mapping[str, str]:
    """The members of a YAML mapping; raises `Invalid`."""
    reader = _Reader(yaml.parse(text, Loader=_LOADER))
    try:
        return reader.document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = f"no YAML (line {line})" if line else "no YAML"
    except yaml.YAMLError:
        problem = "no YAML: a character that YAML does not allow"
    # Not raised in the except clauses: the parser's error holds the text around it.
    raise Invalid(problem)


class _Reader:
    """One pass over the events of one document."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._anchors: dict[str, str] = {}
        self._repeated = 0

    def document(self) -> Mapping[str, str]:
        next(self._events)  # the stream's start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            raise Invalid("the file holds comments only")
        top = next(self._events)
        if not isinstance(top, yaml.MappingStartEvent):
            raise _at("the YAML is no mapping, so it has no keys", top)
        members = self._members(top, 1)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _at("more than one YAML document", after)
        return members

    def _node(self, event: yaml.Event, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise _at(f"YAML deeper than {MAX_DEPTH} levels", event)
        node: str
        match event:
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.ScalarEvent():
                _refuse_tag(event)
                node = event.value
            case yaml.SequenceStartEvent():
                _refuse_tag(event)
                node = _Rendered(f"[{','.join(_json(item) for item in self._items(depth))}]")
            case yaml.MappingStartEvent():
                members = self._members(event, depth)
                node = _Rendered("{" + ",".join(f"{encode_basestring(name)}:{_json(member)}" for name, member in members.items()) + "}")
            case _:
                raise _at("no YAML", event)
        # Only now: an anchor does not exist within its own node, so nothing can hold itself.
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _items(self, depth: int) -> Iterator[str]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _members(self, start: yaml.MappingStartEvent, depth: int) -> dict[str, str]:
        _refuse_tag(start)
        members: dict[str, str] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._node(event, depth + 1)
            if isinstance(name, _Rendered):
                raise _at("a key that is no scalar", event)
            if name == "<<" and isinstance(event, yaml.ScalarEvent) and not event.style:  # quoted, it is a name like others
                raise _at("a merge key (<<), which is not supported", event)
            if name in members:
                raise _at("a key that was there before", event)
            members[name] = self._node(next(self._events), depth + 1)
        return members

    def _alias(self, event: yaml.AliasEvent) -> str:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _at("an alias without its anchor", event)
        self._repeated += len(node)
        if self._repeated > _MAX_REPEATED:
            raise _at("aliases that repeat too much", event)
        return node


def _json(node: str) -> str:
    return node if isinstance(node, _Rendered) else encode_basestring(node)


def _refuse_tag(event: yaml.Event) -> None:
    if getattr(event, "tag", None) is not None:
        raise _at("a tag, and tags are not supported", event)


def _at(problem: str, event: yaml.Event) -> Invalid:
    return Invalid(f"{problem} (line {event.start_mark.line + 1})" if event.start_mark else problem)
