"""docs/suite-reference.md: every key of a suite, from its schema and the methods' fields.

``python -m nfe.suite.reference > docs/suite-reference.md`` writes it anew.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nfe.common import strict_yaml
from nfe.common.settings import described, kinds
from nfe.method.recipe import Recipe
from nfe.method.settings import method_names, settings_class
from nfe.suite.expansion import SCHEMA

_HEAD = """# Keys of a suite

Made from `nfe/suite/schema.yaml` and the methods' fields. {}

Text, numbers and lists as in YAML 1.1, but that numbers with leading zeros (`010`) or colons
(`2:4`) are refused without quotes. Where a key takes a list, it offers each of its values; several
lists expand to their product. A setting that is itself a list, such as `ratio`, is written as text,
`0.3/0.7`, or, if its parts are fractions, as a list of numbers, `[0.3, 0.7]`; a list of these
offers each.
"""
_PACKAGES = ("nfe.", "baselines.")
# What the schema's definitions are called here.
_NAMED = {
    "text_or_texts": "text, or a list",
    "whole_or_wholes": "whole number, or a list",
    "recipe": "keys and values",
    "axis": "list, or `{low, high, scale}` with scale `linear` or `log`",
}


def page() -> str:
    """Return the whole page."""
    schema = strict_yaml.load(SCHEMA)
    entry = schema["$defs"]["choices"]["properties"]
    lines = [_HEAD.format(_one_line(schema["description"]))]
    lines += ["## The suite", "", "| key | values | what |", "|---|---|---|"]
    lines += _rows(schema["properties"], schema["required"])
    for name, below in _mappings(schema["properties"]):
        lines += ["", f"### `{name}`", "", "| key | values | what |", "|---|---|---|"]
        lines += _rows(below["properties"], below.get("required", ()))
    lines += ["", "## Entries of a group", ""]
    lines += ["`method`, any of the following keys in place of the suite's, and settings of the"]
    lines += ["method: " + ", ".join(f"`{key}`" for key in (*entry, "include", "exclude")) + "."]
    lines += ["", "## `recipe`", "", *_fields(Recipe)]
    for name in method_names():
        cls = settings_class(name)
        if cls.__module__.startswith(_PACKAGES):
            lines += ["", f"## Settings of `{name}`", "", *_fields(cls)]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _mappings(properties: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the keys whose values are mappings of fixed keys, those below them included."""
    for name, value in properties.items():
        below = value.get("items", value)
        if "properties" in below:
            yield name, below
            yield from ((f"{name}: {key}", m) for key, m in _mappings(below["properties"]))


def _rows(properties: Mapping[str, Any], required: Any) -> list[str]:
    return [
        f"| `{key}`{' (required)' if key in required else ''} | {_values(value)} | "
        f"{_one_line(value.get('description', ''))} |"
        for key, value in properties.items()
    ]


def _values(schema: Mapping[str, Any]) -> str:
    """Return in words what a schema takes."""
    if "$ref" in schema:
        return _NAMED[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_values(branch) for branch in schema["anyOf"])
    if schema["type"] == "array":
        return f"list of {_values(schema['items'])}" if "items" in schema else "list"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "`true` or `false`",
        "object": "keys and values",
    }[schema["type"]]
    least = f" from {schema['minimum']}" if "minimum" in schema else ""
    return words + least + (" above 0" if schema.get("exclusiveMinimum") == 0 else "")


def _fields(cls: Any) -> list[str]:
    """Return the table of a dataclass's fields: values, default, and what its text says."""
    fields = dataclasses.fields(cls)
    if not fields:
        return ["None."]
    hints, told = kinds(cls), _attributes(cls)
    return [
        "| key | values | default | what |",
        "|---|---|---|---|",
        *(
            f"| `{f.name}` | {described(hints[f.name])} | {_default(f.default)} | "
            f"{told.get(f.name, '').replace('|', '/')} |"
            for f in fields
        ),
    ]


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "the data set's"
    if value is None or value == ():
        return "`none`"
    return f"`{'/'.join(map(str, value)) if isinstance(value, tuple) else value}`".replace(
        "`True`", "`true`"
    ).replace("`False`", "`false`")


def _attributes(cls: type) -> dict[str, str]:
    """Return what a class's text says of each of its attributes."""
    _, _, block = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): ((?:.*\n?)(?:^ {8}.*\n?)*)", block, re.M)
    return {name: _one_line(text) for name, text in found}


if __name__ == "__main__":
    print(page(), end="")
