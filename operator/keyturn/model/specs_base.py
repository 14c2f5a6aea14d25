"""What all spec models share: one rule said twice, and one way to read a mapping into a model.

The models are the single source of the CRDs and of the operator's own checks. A `Rule` is written
once in CEL, for the API server, and once in Python, for the operator, which trusts no admission;
both give the same message. The docstring under each field is what `kubectl explain` prints.
Only the modules named ``specs*`` import pydantic; nothing here reads clusters or files.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from keyturn.model.errors import Rejected
from keyturn.model.ids import Kind

RULES_KEY = "x-kubernetes-validations"
KIND_KEY = "x-keyturn-kind"
MODEL_KEY = "x-keyturn-model"
_SHOWN = 3
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of a value or of an object. ``message`` names the remedy, and the field where the path does not.

    ``kind`` limits a rule to the objects of one kind, where two kinds share a model.
    """

    cel: str
    message: str
    holds: Callable[[Any], object]
    kind: Kind | None = None

    def check(self, value: Any, kind: Kind | None) -> None:
        """Raises where the rule is broken; pydantic adds the path."""
        if (self.kind is None or self.kind is kind) and not self.holds(value):
            raise PydanticCustomError("rule", self.message)

    def as_cel(self) -> dict[str, str]:
        """The rule as the CRD holds it; ``KIND_KEY`` is for the generator and never leaves it."""
        scope = {KIND_KEY: self.kind.value} if self.kind else {}
        return {"rule": self.cel, "message": self.message} | scope

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def checked(value: Any, info: ValidationInfo) -> Any:
            self.check(value, info.context)
            return value

        return core_schema.with_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        return schema | {RULES_KEY: [*schema.get(RULES_KEY, []), self.as_cel()]}


def pattern(regex: str, message: str) -> Rule:
    """A string matches as a whole. The regex must mean the same to RE2 and to Python."""
    return Rule(f"self.matches(r'^({regex})$')", message, re.compile(regex).fullmatch)


def one_of(message: str, *fields: str) -> Rule:
    """Exactly one of these fields is set; they are named as in Python."""
    held = ", ".join(f"has(self.{to_camel(field)})" for field in fields)
    return Rule(f"[{held}].exists_one(x, x)", message, lambda spec: sum(getattr(spec, f) is not None for f in fields) == 1)


class Spec(BaseModel):
    """The base of all spec models: strict types, camelCase outside, no value in any error."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        hide_input_in_errors=True,
        defer_build=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obeys(self, info: ValidationInfo) -> Self:
        for rule in self.rules:
            rule.check(self, info.context)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        schema[MODEL_KEY] = f"{cls.__module__}:{cls.__name__}"
        if cls.rules:
            schema[RULES_KEY] = [rule.as_cel() for rule in cls.rules]
        return schema

    @classmethod
    def read(cls, raw: object, *, kind: Kind | None = None, strict: bool = False) -> Self:
        """Reads a spec or raises `Rejected`. ``strict`` refuses unknown fields, which the API server prunes anyway."""
        try:
            return cls.model_validate(raw, context=kind, extra="forbid" if strict else "ignore")
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
        message = "; ".join(f"{path_of(e['loc'])}: {text_of(e)}" for e in found[:_SHOWN])
        more = len(found) - _SHOWN
        raise Rejected(f"{message}; and {more} more" if more > 0 else message)


def path_of(loc: tuple[int | str, ...]) -> str:
    """A place in the spec as the API server writes it: ``spec.data[2].remoteRef.key``."""
    path = "spec"
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":
            name = step if len(step) <= _LONGEST_NAME else step[:_LONGEST_NAME] + "…"
            path += f".{name}" if name.isidentifier() else f"[{name}]"
    return path


_TEXTS: Mapping[str, str] = {
    "missing": "is required; add it",
    "extra_forbidden": "is no field of this kind; remove it",
    "literal_error": "must be one of {expected}",
    "string_type": "must be a string; put it in quotes",
    "string_unicode": "must be valid Unicode",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters; shorten it",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_long": "must have at most {max_length} items; split it",
    "too_short": "must not be empty",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


def text_of(error: ErrorDetails) -> str:
    """Our own words for a validator's finding. None of them quotes the input."""
    if error["type"] == "rule":
        return error["msg"]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return _TEXTS.get(error["type"], "is not of the right shape; see kubectl explain").format(**error.get("ctx", {}))
