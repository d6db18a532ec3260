"""A run and its identity: everything that decides its numbers, and nothing else."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nfe import data as datasets
from nfe.backbones import Architecture, architecture, recorded
from nfe.common.errors import InputError, unknown
from nfe.common.modes import AUTO, PRECISIONS
from nfe.common.settings import kinds
from nfe.method.recipe import Recipe, recipe_of
from nfe.method.settings import CombinesRuns, Settings, settings_class, settings_of_members
from nfe.suite import versions

if TYPE_CHECKING:
    from nfe.method.interface import Method

# Part of every identity: raised whenever the engine's arithmetic changes on purpose.
ENGINE = 1

# Fields that are in the identity only where they say something: they came after the first runs.
_LATER: dict[str, Any] = {
    "class_seed": None,
    "test_images": datasets.OFFICIAL,
    "versions": {},
    "network": {},
}

PROTOCOLS = ("equal", "published")


@dataclass(frozen=True)
class Run:
    """One training run, fully specified. Make it with ``specify``.

    Attributes:
        dataset: data set name.
        resolution: image side in pixels.
        num_classes: how many classes, the first ones of the data set unless they are drawn.
        images_per_class: how many training images of each class, held-out ones included; None
            for all.
        data_hash: content hash of the whole data set.
        architecture: backbone name.
        method: registered method name.
        settings: the method's settings, defaults spelled out.
        protocol: ``equal`` or ``published``.
        recipe: optimizer and schedule.
        precision: arithmetic of the forward and backward pass.
        threads: CPU threads.
        epochs: epochs of the whole run (of each member, where runs are combined).
        seed: the run's seed.
        audit: evaluate the test split after every epoch, for the audit of test-set selection.
        class_seed: the seed under which the classes are drawn; None for the first ones.
        test_images: ``official``, or ``extended`` by the training images that the subset leaves
            out.
        versions: versions above 1 of the arithmetic behind the run, by ``versions.KEYS``.
        network: of a network of one's own, what decides it (see ``Architecture.record``).
    """

    dataset: str
    resolution: int
    num_classes: int
    images_per_class: int | None
    data_hash: str
    architecture: str
    method: str
    settings: Mapping[str, Any]
    protocol: str
    recipe: Recipe
    precision: str
    threads: int
    epochs: int
    seed: int
    audit: bool = False
    class_seed: int | None = None
    test_images: str = datasets.OFFICIAL
    versions: Mapping[str, int] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def backbone(self) -> Architecture:
        """The architecture, as the run's identity says; building it checks that it is here.

        Raises:
            InputError: there is none of that name.
        """
        if self.network:
            return recorded(self.architecture, self.network)
        return architecture(self.architecture)

    @functools.cached_property
    def card(self) -> datasets.Card:
        """The data set's facts.

        Raises:
            InputError: there is no such data set, or the run is on other images of that name.
        """
        card = datasets.card(
            self.dataset,
            self.resolution,
            self.num_classes,
            self.images_per_class,
            self.class_seed,
            self.test_images,
        )
        if card.content_hash != self.data_hash:
            raise InputError(
                f"data set {self.dataset!r} has content hash {card.content_hash} here: the run is "
                f"on the one with {self.data_hash}"
            )
        return card

    @property
    def subset(self) -> str:
        """The part of the data set that is used, in words: ``all`` or, say, ``20-classes``."""
        words = []
        if self.num_classes != datasets.whole(self.card).classes:
            words.append(f"{self.num_classes}-classes")
        if self.class_seed is not None:
            words.append(f"drawn-{self.class_seed}")
        if self.images_per_class is not None:
            words.append(f"{self.images_per_class}-per-class")
        if self.test_images != datasets.OFFICIAL:
            words.append(f"{self.test_images}-test")
        return "-".join(words) or "all"

    def method_settings(self) -> Settings:
        """Return the method's settings as an object; needs no PyTorch."""
        return self._method_settings

    @functools.cached_property
    def _method_settings(self) -> Settings:
        return settings_class(self.method).from_settings(self.settings)

    def build_method(self) -> "Method":
        """Return the method object that the settings describe."""
        from nfe.method.interface import method_class

        return method_class(self.method).from_settings(self.settings)

    def identity(self) -> dict[str, Any]:
        """Return the identity as JSON values, in a fixed order.

        What came later and is as it always was is left out.
        """
        values: dict[str, Any] = json.loads(self._identity)
        return values

    @functools.cached_property
    def _identity(self) -> str:
        """The identity as JSON: it is asked for often where thousands of runs are planned."""
        # Faster than dataclasses.asdict of it all, which copies what is written out anyway.
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values: dict[str, Any] = json.loads(json.dumps(own, default=dataclasses.asdict))
        values["recipe"] = self.recipe.record()
        told = {k: v for k, v in values.items() if k not in _LATER or v != _LATER[k]}
        return json.dumps({"engine": ENGINE, **told})

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the identity, in hexadecimal."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @functools.cached_property
    def name(self) -> str:
        """A readable folder name that ends in a short hash of the identity."""
        words = [f"{self.dataset}{self.resolution}"]
        words += [self.subset] if self.subset != "all" else []
        words += [self.architecture, self.method]
        words += [f"{key}={_readable(value)}" for key, value in self.distinctive_settings().items()]
        words += [self.protocol] if self.protocol != "equal" else []
        words += ["audit"] if self.audit else []
        words += [f"e{self.epochs}", f"s{self.seed}", self.digest[:10]]
        return "_".join(re.sub(r"[^A-Za-z0-9.=+-]+", "-", word) for word in words)

    def distinctive_settings(self) -> dict[str, Any]:
        """Return the settings that the others and the defaults do not imply."""
        # The same for all seeds and data: thousands of runs are planned at once.
        told = json.dumps([self.architecture, self.network, self.method, self.settings])
        if told not in _DISTINCTIVE:
            _DISTINCTIVE[told] = _distinctive(self)
        return dict(_DISTINCTIVE[told])

    def members(self) -> list["Run"]:
        """Return the runs that this run combines; empty for a run that trains itself."""
        method = self.method_settings()
        if not isinstance(method, CombinesRuns):
            return []
        base = dataclasses.replace(
            self,
            method=method.member_method,
            settings=settings_of_members(method).resolved(self.backbone).settings(),
            versions=versions.of_member(self.versions),
        )
        return [dataclasses.replace(base, seed=seed) for seed in method.member_seeds(self.seed)]

    def outdated(self) -> list[str]:
        """Return in words which of the run's versions are not the code's; empty if all are."""
        return versions.outdated(self.method, self.settings, self.dataset, self.versions)

    def check_makeable(self) -> None:
        """Check that this code makes what the identity says.

        Raises:
            InputError: it makes another version.
        """
        if found := self.outdated():
            raise InputError(f"{self.name} is {found[0]}")


# What has been found out, by all that it depends on, as JSON.
_DISTINCTIVE: dict[str, dict[str, Any]] = {}


def _distinctive(run: Run) -> dict[str, Any]:
    backbone, cls = run.backbone, settings_class(run.method)
    telling = dict(run.settings)
    for key in run.settings:
        fewer = {k: v for k, v in telling.items() if k != key}
        with contextlib.suppress(InputError):
            if cls.from_settings(fewer).resolved(backbone).settings() == run.settings:
                telling = fewer
    return telling


def _readable(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(_readable(part) for part in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _whole(name: str, value: Any, least: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", text) or int(text) < least:
        raise InputError(f"{name} is {value!r}: allowed: whole numbers from {least}")
    return int(text)


def check_settings(method: str, settings: Mapping[str, Any], others: Iterable[str] = ()) -> None:
    """Check that a method has every setting that it is given.

    Args:
        method: the method's name.
        settings: its settings, by name.
        others: methods that are given the same ones, by the same entry of a suite.

    Raises:
        InputError: it lacks one; the message says who has it, or whether the recipe does.
    """
    own = list(kinds(settings_class(method)))
    for key in settings:
        if key in own:
            continue
        if key in list(kinds(Recipe)):
            raise InputError(
                f"{key} is no setting of {method}: it belongs to the recipe: allowed: "
                f"recipe: {{{key}: {settings[key]}}} in a suite, --recipe {key}={settings[key]} "
                "by hand"
            )
        having = [name for name in others if key in kinds(settings_class(name))]
        if having:
            raise InputError(
                f"{key} is a setting of {', '.join(having)}, not of {method}, which the same "
                f"entry names: allowed: an entry of its own for {method}, whose settings are: "
                f"{', '.join(own) or 'none'}"
            )
        raise unknown(f"setting of the method {method}", key, own)


def _check_recipe(method: str, recipe: Mapping[str, Any]) -> None:
    """Check that a recipe is given none of the method's settings."""
    fields, own = list(kinds(Recipe)), list(kinds(settings_class(method)))
    for key in recipe:
        if key not in fields and key in own:
            raise InputError(
                f"{key} is no part of the recipe, but a setting of {method}: allowed: "
                f"{key}: {recipe[key]} beside the method in a suite, --set {key}={recipe[key]} "
                "by hand"
            )


def _recipe(
    batch_size: int,
    backbone: Architecture,
    protocol: str,
    published: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Recipe:
    optimizer = given.get("optimizer", backbone.optimizer)
    if protocol == "published" and optimizer != "sgd":
        raise InputError(
            f"protocol 'published' with optimizer {optimizer!r}, which architecture "
            f"{backbone.name!r} trains with: the methods' own recipes are for sgd: allowed: "
            f"protocol equal, or recipe: {{optimizer: sgd}}"
        )
    return recipe_of(batch_size, backbone.optimizer, {**published, **given})


def specify(
    *,
    dataset: str,
    architecture_name: str,
    method: str,
    epochs: int | str | None = None,
    seed: int | str = 0,
    resolution: int | None = None,
    num_classes: int | str | None = None,
    images_per_class: int | str | None = None,
    class_seed: int | str | None = None,
    test_images: str = datasets.OFFICIAL,
    settings: Mapping[str, Any] | None = None,
    protocol: str = "equal",
    recipe: Mapping[str, Any] | None = None,
    precision: str = "float32",
    threads: int | str = 1,
    audit: bool = False,
    pins: Mapping[str, int] | None = None,
) -> Run:
    """Return a run, checked as far as it can be without data.

    Under ``published`` the method's own recipe, epochs and settings apply; what is given here
    still has the last word, and the identity shows it. ``pins`` are versions by name (see
    ``versions.check_pins``) of a run as it was made; all others are the code's.

    Raises:
        InputError: a name is unknown, a value is not allowed, or method and architecture do
            not fit.
    """
    card = datasets.card(
        dataset,
        resolution,
        None if num_classes is None else _whole("num_classes", num_classes, 2),
        None if images_per_class is None else _whole("images_per_class", images_per_class, 1),
        None if class_seed is None else _whole("class_seed", class_seed, 0),
        test_images,
    )
    backbone = architecture(architecture_name)
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    if precision == AUTO:
        raise InputError(
            "precision 'auto' is for runs by hand: a suite names one, or its numbers "
            "would depend on the machine"
        )
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    cls = settings_class(method)
    check_settings(method, settings or {})
    _check_recipe(method, recipe or {})
    published = dict(cls.published) if protocol == "published" else {}
    own_settings = cls.published_settings if protocol == "published" else {}
    chosen = cls.from_settings({**own_settings, **(settings or {})}).resolved(backbone)
    own_epochs = published.pop("epochs", None)
    if epochs is None and own_epochs is None:
        raise InputError(f"epochs is not given and protocol {protocol!r} of {method} sets none")
    return Run(
        dataset=card.name,
        resolution=card.resolution,
        num_classes=card.classes,
        images_per_class=card.images_per_class,
        data_hash=card.content_hash,
        architecture=backbone.name,
        method=method,
        settings=chosen.settings(),
        protocol=protocol,
        recipe=_recipe(card.batch_size, backbone, protocol, published, recipe or {}),
        precision=precision,
        threads=_whole("threads", threads, 1),
        epochs=_whole("epochs", own_epochs if epochs is None else epochs, 1),
        seed=_whole("seed", seed, 0),
        audit=audit,
        class_seed=card.class_seed,
        test_images=card.test_images,
        versions=versions.of(method, chosen.settings(), card.name, pins or {}),
        network=backbone.record,
    )


def from_identity(record: Mapping[str, Any]) -> Run:
    """Return the run that ``Run.identity`` described.

    Raises:
        InputError: the record was written by another version of the engine or is incomplete.
    """
    values = dict(record)
    if (engine := values.pop("engine", None)) != ENGINE:
        raise InputError(f"identity of engine {engine!r}: this is engine {ENGINE}")
    try:
        values["versions"] = versions.checked(values.get("versions", {}))
        return Run(**{**values, "recipe": Recipe(**values["recipe"])})
    except (KeyError, TypeError) as error:
        raise InputError(f"not a run's identity: {error}") from None
