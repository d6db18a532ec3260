"""Short names of settings: the method's own, and the fewest words that tell a group's apart."""

from collections.abc import Iterator, Sequence

from nfe.report.catalogue import PRUNERS, method_name
from nfe.report.tables import Row, details


def short(rows: Sequence[Row]) -> list[str]:
    """Return a name of each row, as the figures have it, with what else it needs.

    A word that tells no two of the rows apart is left out; so names of all settings of a suite
    are longer than those within a group.
    """
    words = [dict(_words(row)) for row in rows]
    kept: list[str] = []
    names = _names(rows, words, kept)
    for key in dict.fromkeys(key for found in words for key in found):
        more = _names(rows, words, [*kept, key])
        if len(set(more)) > len(set(names)):
            kept, names = [*kept, key], more
    return names


def _names(rows: Sequence[Row], words: Sequence[dict[str, str]], kept: Sequence[str]) -> list[str]:
    names = []
    for row, found in zip(rows, words, strict=True):
        members = [f"M = {row['members']}"] if row["members"] not in ("", "1") else []
        told = [*members, *(found[key] for key in kept if found.get(key))]
        name = method_name(row["method"])
        names.append(f"{name} ({', '.join(told)})" if told else name)
    return names


def _words(row: Row) -> Iterator[tuple[str, str]]:
    """Yield what can be told of a setting, the most telling first."""
    more = details(row)
    unit = str(more.pop("granularity", "weight"))
    pruned = row["pruning"] not in ("", "none")
    kind = PRUNERS[row["pruning"]].name if row["pruning"] in PRUNERS else row["pruning"]
    yield "granularity", "" if unit == "weight" else unit.replace("_", " ")
    yield "pruning", f"{kind} {row['sparsity']}" if pruned else ""
    yield "sparsity", f"sparsity {row['sparsity']}" if row["sparsity"] and not pruned else ""
    yield "ratio", f"ratio {row['grouping_ratio']}" if row["grouping_ratio"] else ""
    stages = row["exit_stages"].replace("+", "/").replace("/", ", ")
    yield "exits", f"exits after {stages}" if stages else ""
    for key, value in more.items():
        yield key, "" if value in ("", None) else f"{key.replace('_', ' ')} {value}"
