"""Errors that a user can cause: one clear line each, never a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches

# Share of letters that two names have in common, from which one may be meant for the other.
_NEAR = 0.5


class InputError(ValueError):
    """Input that cannot be used: the message names the value and what is allowed."""


class CollapseError(InputError):
    """A layer or a path is left without a single weight, so nothing can be trained."""


class DivergenceError(RuntimeError):
    """The loss or the logits stopped being finite."""


class Interrupted(RuntimeError):
    """The run was asked to stop; its state is saved and the same command continues it."""


def first_line(error: BaseException) -> str:
    """Return what an error says, as much of it as fits into a message of one line."""
    return str(error).strip().split("\n")[0]


def unknown(kind: str, name: str, allowed: Iterable[str]) -> InputError:
    """Return the error for a name that is not among the allowed ones, nearest name included.

    Args:
        kind: what the name is, for instance ``"method"``.
        name: the name that was given.
        allowed: every valid name.
    """
    names = sorted(allowed)
    near = get_close_matches(name.lower(), names, n=1, cutoff=_NEAR)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}allowed: {', '.join(names) or 'none'}")
