"""Settings on the command line."""

from collections.abc import Sequence

from nfe.common.errors import InputError


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return ``key=value`` arguments as a dictionary.

    Raises:
        InputError: one is none.
    """
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"{text!r}: allowed: key=value")
        found[key] = value
    return found
