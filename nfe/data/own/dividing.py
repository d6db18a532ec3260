"""Which image of a source is for training, held out, or for test."""

import collections
from dataclasses import dataclass

import numpy as np

from nfe.common.errors import InputError
from nfe.data.base import Array
from nfe.data.own.found import HELDOUT, SPLITS, TEST, TRAIN, UNDIVIDED, Found, some
from nfe.data.splits import ONE_IN


@dataclass(frozen=True)
class Rule:
    """How test images are drawn from a source that does not say which they are.

    Attributes:
        share: of all images, or of each class's; None where the source says it.
        seed: of NumPy's legacy generator, whose stream is frozen.
        stratified: whether the share is one of each class.
    """

    share: float | None = None
    seed: int = 0
    stratified: bool = True

    def __post_init__(self) -> None:
        """Check the rule.

        Raises:
            InputError: the share is none, or the seed is not allowed.
        """
        if self.share is not None and not 0 < self.share < 1:
            raise InputError(f"test share is {self.share}: allowed: above 0 and below 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"split seed is {self.seed}: allowed: 0 to {2**32 - 1}")

    def words(self) -> str:
        """Return the rule in words, for the card."""
        if self.share is None:
            return "divided as the source says"
        each = "of each class" if self.stratified else "of all images"
        return f"test images: a share of {self.share:g} {each}, drawn with seed {self.seed}"


def check(found: Found, rule: Rule) -> None:
    """Check that a source and a rule together say what is for test.

    Raises:
        InputError: neither says it, both do, or the splits have other classes.
    """
    splits = set(found.splits().tolist())
    if splits == {UNDIVIDED}:
        if rule.share is None:
            raise InputError(
                f"{found.where}: {found.kind} without a test split: allowed: a source that says "
                "which images are train and test, or --test-share, for instance 0.2"
            )
        return
    if rule.share is not None:
        raise InputError(
            f"{found.where}: --test-share {rule.share:g} beside a split of its own: allowed: one"
        )
    for wanted in (TRAIN, TEST):
        if wanted not in splits:
            raise InputError(f"{found.where}: no {wanted} images: allowed: some of each class")
    _check_alike(found)


def _check_alike(found: Found) -> None:
    """Check that the splits of a source have the same classes."""
    classes: dict[str, set[str]] = collections.defaultdict(set)
    for item in found.items:
        classes[item.split].add(item.label)
    for split, labels in classes.items():
        if lacking := sorted(classes[TRAIN] - labels):
            raise InputError(
                f"{found.where}: {split} has no images of class {some(lacking)}, which train has"
            )
        if foreign := sorted(labels - classes[TRAIN]):
            raise InputError(
                f"{found.where}: {split} has class {some(foreign)}, which train has not"
            )


def divide(found: Found, rule: Rule) -> dict[str, Array]:
    """Return the indices of each split's images, ascending.

    Where the source holds none out, 5 % of each class's training images are, rounded down, but
    one at least: as of every other data set, under the seed (0, label).

    Raises:
        InputError: a class has too few images for one of each split.
    """
    labels, splits = found.labels(), found.splits()
    if rule.share is not None:
        splits = _drawn(labels, rule)
    if HELDOUT not in splits.tolist():
        splits = _held_out(found, labels, splits)
    for split in SPLITS:
        counts = np.bincount(labels[splits == split], minlength=len(found.class_names))
        if not counts.all():
            raise _too_few(found, labels, int(counts.argmin()), split)
    return {split: np.flatnonzero(splits == split) for split in SPLITS}


def _drawn(labels: Array, rule: Rule) -> Array:
    """Return train or test for each image."""
    assert rule.share is not None
    splits = np.full(len(labels), TRAIN, dtype="<U7")
    strata = np.unique(labels) if rule.stratified else [None]
    for stratum in strata:
        within = labels == stratum if stratum is not None else np.ones(len(labels), dtype=bool)
        members = np.flatnonzero(within)
        seed = [rule.seed, 0 if stratum is None else int(stratum)]
        drawn = np.random.RandomState(seed).permutation(len(members))
        splits[members[drawn[: max(1, round(rule.share * len(members)))]]] = TEST
    return splits


def _held_out(found: Found, labels: Array, splits: Array) -> Array:
    divided = splits.astype("<U7")
    for label in range(len(found.class_names)):
        members = np.flatnonzero((labels == label) & (splits == TRAIN))
        if len(members) < 2:
            raise _too_few(found, labels, label, TRAIN)
        drawn = np.random.RandomState([0, label]).permutation(len(members))
        divided[members[drawn[: max(1, len(members) // ONE_IN)]]] = HELDOUT
    return divided


def _too_few(found: Found, labels: Array, label: int, split: str) -> InputError:
    has = int((labels == label).sum())
    return InputError(
        f"{found.where}: class {found.class_names[label]!r} has {has} "
        f"image{'s' * (has != 1)}, too few of them for {split}: allowed: two training images of "
        "each class (one is held out) and one test image"
    )
