"""Settings are the fields of a frozen dataclass; this reads them from text or YAML values."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from nfe.common.errors import InputError, unknown


def parse(owner: type, values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return ``values`` with each one converted to its field's declared type.

    Text is accepted for every type (``"2"``, ``"true"``, ``"0.3/0.7"``, ``"none"``).

    Args:
        owner: the dataclass whose fields are the allowed keys.
        values: what a user gave.
        kind: what to call the keys in an error, for instance ``"recipe"``.

    Raises:
        InputError: a key is no field (the nearest one is named) or a value has another type.
    """
    hints = typing.get_type_hints(owner)
    fields = [field.name for field in dataclasses.fields(owner)]
    parsed = {}
    for key, value in values.items():
        if key not in fields:
            raise unknown(kind, key, fields)
        try:
            parsed[key] = _convert(value, hints[key])
        except (TypeError, ValueError):
            raise InputError(
                f"{kind}: {key} is {value!r}: allowed: {described(hints[key])}"
            ) from None
    return parsed


def _convert(value: Any, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_optional(value, arguments)
    if origin is tuple:
        if value == "none":
            return ()
        parts = value.split("/") if isinstance(value, str) else value
        if isinstance(parts, (int, float)):
            parts = [parts]
        return tuple(_convert(part, arguments[0]) for part in parts)
    return _convert_scalar(value, kind)


def _convert_optional(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None or value == "none":
        return None
    return _convert(value, next(kind for kind in kinds if kind is not type(None)))


def _convert_scalar(value: Any, kind: type) -> Any:
    if kind is bool:
        return _convert_bool(value)
    if isinstance(value, bool):
        raise TypeError
    if kind is int:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError
        return int(value)
    if kind is str and not isinstance(value, str):
        raise TypeError
    return kind(value)


def _convert_bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise TypeError
    return value


def described(kind: Any) -> str:
    """Return in words what a field of a type takes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if k is type(None) else described(k) for k in arguments)
    if origin is tuple:
        return f"{described(arguments[0]).removeprefix('a ')}s separated by '/'"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names[kind]


def check_field(field: "dataclasses.Field[Any]", kind: Any) -> None:
    """Check that a field can be read from text, and that its default is of its type.

    Raises:
        InputError: it is not so; the message says what follows the field's name.
    """
    try:
        words = described(kind)
    except (KeyError, IndexError):
        name = getattr(kind, "__name__", str(kind))
        raise InputError(
            f"is of type {name}: allowed: int, float, bool, str, a tuple of one of them, or "
            "any of these or None"
        ) from None
    if field.default is dataclasses.MISSING:
        return
    try:
        fits = _convert(field.default, kind) == field.default
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(f"has the default {field.default!r}: allowed: {words}")


def check_whole(name: str, value: int, least: int = 1, most: int | None = None) -> None:
    """Check that a setting is a whole number in a range.

    Raises:
        InputError: it is not.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bounds = f"from {least}" + ("" if most is None else f" to {most}")
        raise InputError(f"{name} is {value!r}: allowed: whole numbers {bounds}")


def check_number(name: str, value: float, *, above: float, below: float = math.inf) -> None:
    """Check that a setting is a number strictly between two bounds.

    Raises:
        InputError: it is not.
    """
    if not above < value < below:
        bounds = f"above {above:g}" + ("" if below == math.inf else f" and below {below:g}")
        raise InputError(f"{name} is {value!r}: allowed: numbers {bounds}")
