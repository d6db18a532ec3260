"""What a method's class says of itself, checked when it is found: rule, version, settings."""

import dataclasses
import inspect
import typing
from typing import Any

from nfe.common.errors import InputError
from nfe.common.settings import check_field, kinds

COMBINE = ("logits", "probabilities")


def located(cls: type) -> str:
    """Return a class's name and file, to stand in front of what is wrong with it."""
    try:
        file = inspect.getsourcefile(cls) or "no file"
    except TypeError:
        file = "no file"
    return f"{cls.__module__}.{cls.__qualname__} ({file})"


def check_class(cls: Any) -> None:
    """Check what can be said of a method's class without making a network.

    Raises:
        InputError: it has another rule of combination, a version that is no whole number, or
            settings of types that cannot be read; the message names class and file.
    """
    where = located(cls)
    if (rule := getattr(cls, "combine", COMBINE[0])) not in COMBINE:
        allowed = " or ".join(map(repr, COMBINE))
        raise InputError(f"{where}: combine is {rule!r}: allowed: {allowed}")
    if type(cls.version) is not int or cls.version < 1:
        raise InputError(f"{where}: version is {cls.version!r}: allowed: whole numbers from 1")
    fields = kinds(cls)
    if undeclared := _annotated(cls) - set(fields):
        raise InputError(
            f"{where}: {', '.join(sorted(undeclared))}: allowed: a frozen dataclass, whose fields "
            "are the settings"
        )
    for field in dataclasses.fields(cls):
        try:
            check_field(field, fields[field.name])
        except InputError as error:
            raise InputError(f"{where}: setting {field.name} {error}") from None


def _annotated(cls: type) -> set[str]:
    """Return the names that a class's own body annotates as fields are."""
    own = vars(cls).get("__annotations__", {})
    hints = typing.get_type_hints(cls)
    return {
        name
        for name in own
        if hints[name] is not typing.ClassVar
        and typing.get_origin(hints[name]) is not typing.ClassVar
    }
