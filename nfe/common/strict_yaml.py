"""YAML as its writer means it: what it would silently take for something else is refused."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from nfe.common.errors import InputError

# YAML 1.1 takes 010 for 8 and 2:4 for 124.
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


class _Loader(yaml.SafeLoader):
    """Refuses keys that stand twice in a mapping, and numbers that look like others."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping whose keys differ."""
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name, line = self.construct_object(key, deep=True), _line(key)
            if not isinstance(name, Hashable):
                continue  # the base class says so
            if name in seen:
                raise InputError(
                    f"line {line}: {name!r} stands twice, in line {seen[name]} first: "
                    "allowed: every key once"
                )
            seen[name] = line
        return super().construct_mapping(node, deep)

    def construct_number(self, node: ScalarNode) -> int | float:
        """Return a number that is written as it reads."""
        text: str = node.value
        if _OCTAL.fullmatch(text):
            raise InputError(f"line {_line(node)}: {text} is a number in base 8 here: {_SAY}")
        if _BASE_60.fullmatch(text):
            raise InputError(f"line {_line(node)}: {text} is a number in base 60 here: {_SAY}")
        if node.tag.endswith(":float"):
            return float(self.construct_yaml_float(node))
        return int(self.construct_yaml_int(node))


_SAY = "allowed: a decimal number without leading zeros, or text in quotes"

for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def loads(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        InputError: it is no YAML, a key stands twice in a mapping, or a number is octal or in
            base 60 by YAML's rules; the message names the line.
    """
    try:
        # A subclass of SafeLoader: no object is ever made.
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InputError(f"not valid YAML ({' '.join(str(error).split())})") from None


def load(path: Path) -> Any:
    """Return what a YAML file says, in UTF-8 whatever the locale.

    Raises:
        InputError: the file cannot be read, or see ``loads``; the message names the file.
    """
    try:
        return loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
