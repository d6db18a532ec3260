"""From a suite's configuration to its list of runs."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfe.common import strict_yaml
from nfe.common.errors import InputError, unknown
from nfe.common.files import read_json
from nfe.method.recipe import Recipe
from nfe.method.settings import Settings, settings_class
from nfe.suite import fractions, pairing, tuning, versions
from nfe.suite.run import Run, check_settings, from_identity, specify

Entry = Mapping[str, Any]

SCHEMA = Path(__file__).with_name("schema.yaml")

# Keys of a suite and of its entries that say which run it is; all others are method settings.
_RUN_KEYS = (
    "dataset",
    "resolution",
    "num_classes",
    "images_per_class",
    "class_seed",
    "test_images",
    "architecture",
    "method",
    "protocol",
    "precision",
    "threads",
    "epochs",
    "seeds",
    "audit",
    "recipe",
)
_RECIPE_KEYS = tuple(field.name for field in dataclasses.fields(Recipe))
# Keys of an entry that say which combinations it has besides, and which it lacks.
_GRID_KEYS = ("include", "exclude")
# What of a plan says how its runs are made, and changes no number.
_MAKING = ("runs_per_process", "checkpoint_seconds")
# And what it says for the readers of tables and figures alone.
_TELLING = ("untuned", "ranks", "confirmatory")
# Runs that are only there because another run combines them.
MEMBERS = "members"


@dataclass(frozen=True)
class Planned:
    """A run and the groups of the suite that want it."""

    run: Run
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Comparisons that a suite states before any run is made, with one Holm correction.

    Attributes:
        metric: what is compared.
        comparisons: names of the first run of a setting and of its baseline.
    """

    metric: str
    comparisons: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Suite:
    """A suite, expanded.

    Attributes:
        name: the name of its folders.
        note: what it is and is not good for.
        runs: every run once, in the order of the configuration; members behind.
        runs_per_process: short runs that share one process.
        checkpoint_seconds: seconds between saved states.
        comparisons: names of the first run of a setting and of its baseline, for each comparison
            that the configuration asks for besides those of the headline.
        untuned: methods that run with the default recipe beside tuned ones.
        ranks: whether its numbers may rank methods: figures and page then show fronts and ranks.
        confirmatory: the family stated beforehand, where there is one.
    """

    name: str
    note: str
    runs: tuple[Planned, ...]
    runs_per_process: int = 1
    checkpoint_seconds: float = 300.0
    comparisons: tuple[tuple[str, str], ...] = ()
    untuned: tuple[str, ...] = ()
    ranks: bool = True
    confirmatory: Family | None = None

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        runs = [
            {"name": p.run.name, "groups": list(p.groups), "identity": p.run.identity()}
            for p in self.runs
        ]
        return {
            "suite": self.name,
            "note": self.note,
            "runs_per_process": self.runs_per_process,
            "checkpoint_seconds": self.checkpoint_seconds,
            "runs": runs,
            **(
                {"comparisons": [list(pair) for pair in self.comparisons]}
                if self.comparisons
                else {}
            ),
            **({"untuned": list(self.untuned)} if self.untuned else {}),
            **({} if self.ranks else {"ranks": False}),
            **({"confirmatory": _family_record(self.confirmatory)} if self.confirmatory else {}),
        }

    @functools.cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits over what the tables depend on."""
        told = {k: v for k, v in self.record().items() if k not in (*_MAKING, *_TELLING)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]

    def chunks(self) -> list[list[Run]]:
        """Return the runs that train, divided over processes; a pure function of the suite."""
        trained = [p.run for p in self.runs if not p.run.members()]
        size = self.runs_per_process
        return [trained[first : first + size] for first in range(0, len(trained), size)]

    def combined(self) -> list[Run]:
        """Return the runs that combine others."""
        return [p.run for p in self.runs if p.run.members()]

    def run(self, name: str) -> Run:
        """Return the run called ``name``.

        Raises:
            InputError: the suite has no such run.
        """
        for planned in self.runs:
            if planned.run.name == name:
                return planned.run
        raise unknown(f"run of suite {self.name}", name, [p.run.name for p in self.runs])


def _family_record(family: Family) -> dict[str, Any]:
    return {"metric": family.metric, "comparisons": [list(pair) for pair in family.comparisons]}


def told_readers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a plan's record is for readers alone, and no part of its digest."""
    return {key: record[key] for key in _TELLING if key in record}


def read_config(path: Path) -> dict[str, Any]:
    """Read a suite's YAML file.

    Raises:
        InputError: the file is missing, is not a YAML mapping, or see ``strict_yaml.loads``.
    """
    config = strict_yaml.load(path)
    if not isinstance(config, dict):
        raise InputError(f"{path}: not a suite: allowed: a mapping with suite, groups and so on")
    return config


def check_config(config: Mapping[str, Any]) -> None:
    """Check a configuration against the schema.

    Raises:
        InputError: it does not fit; the message names the first place that does not.
    """
    import jsonschema

    # JSON has one kind of number, so the standard takes 2.0 for an integer.
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=checker)
    validator = strict(strict_yaml.load(SCHEMA))
    error = jsonschema.exceptions.best_match(validator.iter_errors(dict(config)))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise InputError(f"suite configuration, {place}: {_reason(error)}")


def _reason(error: Any) -> str:
    """Return why a value does not fit the schema, with what would."""
    if error.validator == "additionalProperties" and error.validator_value is False:
        allowed = list(error.schema["properties"])
        key = next(str(key) for key in error.instance if key not in allowed)
        if not error.absolute_path and key in _RECIPE_KEYS:
            return f"{key} belongs to the recipe: allowed: recipe: {{{key}: {error.instance[key]}}}"
        return str(unknown("key", key, allowed))
    if error.validator == "anyOf":
        kinds = " or ".join(_kind(branch) for branch in error.validator_value)
        return f"{error.instance!r}: allowed: {kinds}"
    return str(error.message)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return in words what a branch of the schema takes."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2].replace("_", " "))
    kinds = {"string": "text", "integer": "a whole number", "object": "keys and values"}
    listed = schema.get("items", {}).get("type")
    if schema["type"] == "array":
        return "a list of different values" + (f", each {kinds[listed]}" if listed else "")
    return kinds[schema["type"]]


def expand(config: Mapping[str, Any]) -> Suite:
    """Return the suite that a configuration describes, every run checked.

    Raises:
        InputError: the configuration does not fit the schema, a run is not possible, the same
            run stands twice in a group, or there is no run at all.
    """
    check_config(config)
    defaults = {key: config[key] for key in _RUN_KEYS if key in config}
    offers = tuning.offers(config, read_config)
    pins = config.get("versions", {})
    versions.check_pins(pins)
    wanted: dict[str, Planned] = {}
    for group, entries in _groups(config).items():
        for run in _group_runs(group, entries, defaults, offers, pins):
            groups = wanted[run.name].groups if run.name in wanted else ()
            wanted[run.name] = Planned(run, (*groups, group))
    for planned in list(wanted.values()):
        for member in planned.run.members():
            wanted.setdefault(member.name, Planned(member, (MEMBERS,)))
    return Suite(
        name=config["suite"],
        note=config.get("note", ""),
        runs=tuple(wanted.values()),
        runs_per_process=config.get("runs_per_process", 1),
        checkpoint_seconds=config.get("checkpoint_seconds", 300.0),
        comparisons=tuple(dict.fromkeys(_comparisons(config, wanted.values()))),
        untuned=tuple(offers.untuned(_equal_methods(wanted.values()))),
        ranks=config.get("ranks", True),
        confirmatory=_confirmatory(config, wanted.values()),
    )


def _equal_methods(runs: Iterable[Planned]) -> list[str]:
    """Return the methods of the runs of protocol equal."""
    return [planned.run.method for planned in runs if planned.run.protocol == "equal"]


def _comparisons(config: Mapping[str, Any], runs: Iterable[Planned]) -> Iterator[tuple[str, str]]:
    """Yield the pairs that the configuration asks for, of the groups to make."""
    for entry in config.get("comparisons", ()):
        group, baseline = entry["group"], entry["baseline"]
        check_groups(config, [group], "comparisons")
        members = [planned.run for planned in runs if group in planned.groups]
        pairs = pairing.pairs(members, baseline)
        if members and not pairs:
            raise InputError(
                f"comparisons: no two settings of group {group!r} differ in nothing but "
                f"{_words(baseline)}"
            )
        yield from pairs


def _confirmatory(config: Mapping[str, Any], runs: Iterable[Planned]) -> Family | None:
    """Return the family that the configuration states; none where not all its groups are made."""
    stated = config.get("confirmatory")
    if stated is None:
        return None
    check_groups(config, stated["groups"], "confirmatory")
    pairs: list[tuple[str, str]] = []
    for group in stated["groups"]:
        first = [p.run for p in runs if group in p.groups and p.run.seed == 0]
        found = [
            (run.name, other.name)
            for run in first
            for other in first
            if run.method == stated["method"] != other.method
        ]
        if first and not found:
            raise InputError(
                f"confirmatory: group {group!r} does not set {stated['method']!r} against another "
                "method"
            )
        if not first:
            return None
        pairs += found
    return Family(stated["metric"], tuple(dict.fromkeys(pairs)))


def check_groups(config: Mapping[str, Any], names: Iterable[str], key: str) -> None:
    """Check that a key of the configuration names groups of the suite.

    Raises:
        InputError: a name is not one of them.
    """
    for name in names:
        if name not in config["groups"]:
            raise unknown(f"group of the suite ({key})", name, config["groups"])


def timed(config: Mapping[str, Any], runs: Iterable[Planned]) -> list[Run]:
    """Return the runs whose networks' latency the configuration asks for.

    The points of a search differ in settings of training: nobody asks how fast each one is.

    Raises:
        InputError: it names a group that the suite has not.
    """
    asked = config.get("latency", [] if {"tuning", "finalists"} & set(config) else None)
    if asked is None:
        return [planned.run for planned in runs]
    check_groups(config, asked, "latency")
    return [planned.run for planned in runs if set(asked) & set(planned.groups)]


def _groups(config: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the groups to make: all, or those that ``only`` names."""
    groups: dict[str, list[Mapping[str, Any]]] = config["groups"]
    only = config.get("only", list(groups))
    names = [only] if isinstance(only, str) else only
    check_groups(config, names, "only")
    return {name: entries for name, entries in groups.items() if name in names}


def _group_runs(
    group: str,
    entries: list[Entry],
    defaults: Entry,
    offers: tuning.Offers,
    pins: Mapping[str, int],
) -> list[Run]:
    runs: dict[str, Run] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"group {group!r}, entry {number}"
        try:
            choices = _choices(entry, defaults)
            _check_choices(choices)
            expanded = [
                run
                for choice in choices
                for offered in offers.applied(choice)
                for run in _seeds(offered, pins)
            ]
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        for run in expanded:
            if run.name in runs:
                raise InputError(f"{where}: {run.name} stands in the group twice")
            runs[run.name] = run
    return list(runs.values())


def _check_choices(choices: Iterable[Entry]) -> None:
    """Check that each combination's method has the settings that the entry gives it."""
    given = [(c["method"], {k: v for k, v in c.items() if k not in _RUN_KEYS}) for c in choices]
    methods = list(dict.fromkeys(method for method, _ in given))
    for method, settings in given:
        check_settings(method, settings, methods)


def _choices(entry: Entry, defaults: Entry) -> list[dict[str, Any]]:
    """Return an entry's combinations: its product, then its includes', less the excluded ones.

    An include is the entry with some keys changed, and expands likewise.
    """
    entry = fractions.as_text(entry, _GRID_KEYS)
    base = {k: v for k, v in {**defaults, **entry}.items() if k not in _GRID_KEYS}
    grids = [base, *({**base, **changes} for changes in entry.get("include", ()))]
    choices = [choice for grid in grids for choice in _product(grid)]
    for exclude in entry.get("exclude", ()):
        kept = [choice for choice in choices if not _matches(choice, exclude)]
        if len(kept) == len(choices):
            raise InputError(f"exclude {_words(exclude)} matches nothing")
        choices = kept
    if not choices:
        raise InputError("expands to nothing: every combination is excluded")
    return choices


def _matches(choice: Entry, exclude: Entry) -> bool:
    """Return whether a combination has, for each key of an exclude, one of its values."""
    for key, wanted in exclude.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if key not in choice or choice[key] not in values:
            return False
    return True


def _words(entry: Entry) -> str:
    return ", ".join(f"{key}: {value}" for key, value in entry.items())


def _product(entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield every combination of the listed values; a recipe's fields may be lists too."""
    recipe = {("recipe", key): value for key, value in entry.get("recipe", {}).items()}
    flat = {(key,): value for key, value in entry.items() if key != "recipe"} | recipe
    for path, value in flat.items():
        _check_values(" ".join(path), value)
    axes = [value if isinstance(value, list) else [value] for value in flat.values()]
    for values in itertools.product(*axes):
        choice: dict[str, Any] = {"recipe": {}}
        for path, value in zip(flat, values, strict=True):
            target = choice["recipe"] if len(path) == 2 else choice
            target[path[-1]] = value
        yield choice


def _check_values(name: str, value: Any) -> None:
    if value == []:
        raise InputError(f"{name} is []: allowed: one value or more")
    if isinstance(value, list) and (twice := [v for v in value if value.count(v) > 1]):
        raise InputError(f"{name} lists {twice[0]!r} twice")


def _seeds(choice: Entry, pins: Mapping[str, int]) -> Iterator[Run]:
    known = {key: choice[key] for key in _RUN_KEYS if key in choice}
    settings = {key: value for key, value in choice.items() if key not in _RUN_KEYS}
    seeds = known.pop("seeds")
    name = known.pop("architecture")
    first = specify(architecture_name=name, settings=settings, seed=0, pins=pins, **known)
    _check_kept(settings, first)
    # A seed changes nothing else, and specifying a run takes time in suites of a thousand.
    yield from (dataclasses.replace(first, seed=seed) for seed in range(seeds))


def _check_kept(settings: Entry, run: Run) -> None:
    """Check that the settings as given are the run's: none is overruled by another one."""
    # The base class's form has every field, those too that a method's identity leaves out.
    given = Settings.settings(settings_class(run.method).from_settings(settings))
    for key in settings:
        kept = run.settings.get(key)
        if given[key] not in (None, kept):
            raise InputError(
                f"{key} is {settings[key]!r}, which the other settings make "
                f"{kept!r}: contradictory: {_words(settings)}"
            )


def load_plan(path: Path) -> Suite:
    """Read a plan that ``Suite.record`` described.

    Raises:
        InputError: the file is missing, damaged or of another engine.
    """
    record = read_json(path)
    try:
        runs = tuple(
            Planned(from_identity(r["identity"]), tuple(r["groups"])) for r in record["runs"]
        )
        return Suite(
            record["suite"],
            record["note"],
            runs,
            record["runs_per_process"],
            record["checkpoint_seconds"],
            tuple((setting, baseline) for setting, baseline in record.get("comparisons", ())),
            tuple(record.get("untuned", ())),
            record.get("ranks", True),
            _read_family(record.get("confirmatory")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a plan ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read_family(record: Mapping[str, Any] | None) -> Family | None:
    if record is None:
        return None
    return Family(record["metric"], tuple((one, other) for one, other in record["comparisons"]))
