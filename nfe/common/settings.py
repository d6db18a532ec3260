"""Settings: typed and bounded fields of a frozen dataclass, read and checked by pydantic.

A field says what it takes where it is declared::

    members: Count = 3
    sparsity: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    output: Literal["mse", "kl"] = "mse"
"""

import dataclasses
import types
import typing
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge, Gt, Interval
from pydantic import ConfigDict, TypeAdapter, ValidationError

from nfe.common.errors import InputError, unknown

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
Coefficient = Annotated[float, Ge(0)]
# A share that is neither nothing nor all.
Share = Annotated[float, Interval(gt=0, lt=1)]

_FINITE = ConfigDict(allow_inf_nan=False)
_WORDS = {
    "integer": "whole numbers",
    "number": "numbers",
    "boolean": "true or false",
    "string": "text",
    "null": "none",
}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=_FINITE)


@cache
def _schema(kind: Any) -> dict[str, Any]:
    return _adapter(kind).json_schema()


def kinds(owner: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass, bounds included, by name."""
    return _kinds(cast(Hashable, owner))


@cache
def _kinds(owner: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(owner, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(owner)}


def parse(owner: type, values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return ``values`` with each one converted to its field's declared type.

    Text is accepted for every type (``"2"``, ``"true"``, ``"0.3/0.7"``, ``"none"``).

    Args:
        owner: the dataclass whose fields are the allowed keys.
        values: what a user gave.
        kind: what to call the keys in an error, for instance ``"recipe"``.

    Raises:
        InputError: a key is no field (the nearest one is named), or its value is not allowed.
    """
    allowed = kinds(owner)
    for key in values:
        if key not in allowed:
            raise unknown(kind, key, list(allowed))
    return {
        key: _checked(key, _spread(value, _schema(allowed[key])), allowed[key], value)
        for key, value in values.items()
    }


def check(settings: Any) -> None:
    """Check each field of a dataclass's instance against its type and bounds.

    Raises:
        InputError: a value is not allowed.
    """
    for name, kind in kinds(type(settings)).items():
        check_value(name, getattr(settings, name), kind)


def check_value(name: str, value: Any, kind: Any) -> None:
    """Check one value against a type and its bounds.

    Raises:
        InputError: it is not allowed.
    """
    _checked(name, value, kind, value, strict=True)


def _checked(name: str, value: Any, kind: Any, given: Any, strict: bool = False) -> Any:
    """Return a value in its type; text stands for numbers, true and false for none."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    strict = strict or any(isinstance(part, bool) for part in parts)
    try:
        return _adapter(kind).validate_python(value, strict=strict)
    except ValidationError:
        names = _names(kind)
        wrong = [part for part in parts if isinstance(part, str) and part not in names]
        if names and wrong:
            raise unknown(name, wrong[0], names) from None
        raise InputError(f"{name} is {given!r}: allowed: {described(kind)}") from None


def _names(kind: Any) -> list[str]:
    """Return the names that a setting, or each of its values, may have; empty for other kinds."""
    schema = _schema(kind)
    return [*schema.get("items", schema).get("enum", [])]


def _spread(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return what text or a single value stands for where none or several values are allowed."""
    allowed = {branch.get("type") for branch in schema.get("anyOf", [schema])}
    if value == "none" and "null" in allowed:
        return None
    if "array" not in allowed or value is None or isinstance(value, (list, tuple)):
        return value
    if value == "none":
        return []
    return value.split("/") if isinstance(value, str) else [value]


def is_fractions(kind: Any) -> bool:
    """Return whether a field takes several numbers that need not be whole."""
    branches = _schema(kind).get("anyOf", [_schema(kind)])
    return any(b.get("items", {}).get("type") == "number" for b in branches)


def described(kind: Any) -> str:
    """Return in words what a field of a type takes."""
    return _described(_schema(kind))


def _described(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_described, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(map(repr, schema.get("enum", [schema.get("const")])))
    if schema["type"] == "array":
        return f"{_described(schema['items'])}, separated by '/'"
    return _WORDS[schema["type"]] + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    """Return the bounds in words, with a space in front."""
    lows = {"minimum": " from {:g}", "exclusiveMinimum": " above {:g}"}
    highs = {"maximum": " to {:g}", "exclusiveMaximum": " below {:g}"}
    low = [words.format(schema[key]) for key, words in lows.items() if key in schema]
    high = [words.format(schema[key]) for key, words in highs.items() if key in schema]
    return " and".join(low + high) if "exclusiveMaximum" in schema else "".join(low + high)


def check_field(field: "dataclasses.Field[Any]", kind: Any) -> None:
    """Check that a field can be read from text, and that its default is of its type.

    Raises:
        InputError: it is not so; the message says what follows the field's name.
    """
    if not _readable(kind):
        name = getattr(kind, "__name__", str(kind))
        raise InputError(
            f"is of type {name}: allowed: int, float, bool, str, Literal, a tuple of one of "
            "them, or any of these or None"
        )
    if field.default is dataclasses.MISSING:
        return
    try:
        check_value(field.name, field.default, kind)
    except InputError:
        raise InputError(f"has the default {field.default!r}: allowed: {described(kind)}") from None


def _readable(kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _readable(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return all(part is type(None) or _readable(part) for part in arguments)
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis and _readable(arguments[0])
    return origin is Literal or kind in (int, float, bool, str)
