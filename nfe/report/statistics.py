"""Statistics over seeds and test images: intervals, differences, p-values.

docs/statistics.md says what each of them means and what was measured of them.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, t

Array = npt.NDArray[Any]

REPLICATES = 1000
_LEAST_P = 1e-12


def summarize(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, sample standard deviation and half-width of the 95 % interval.

    The interval is Student's t over the seeds: t_{0.975, n−1} · s / √n.

    Args:
        values: one number per seed.

    Returns:
        ``mean``, ``std`` (None under 2 values) and ``ci95`` (None under 3 values).
    """
    n = len(values)
    std = statistics.stdev(values) if n >= 2 else None
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n >= 3 and std is not None else None
    return {"mean": statistics.fmean(values) if n else None, "std": std, "ci95": half}


def image_weights(images: int, replicates: int = REPLICATES) -> Array:
    """Return bootstrap weights of the test images, (replicates, images); each row sums to 1.

    Always the same ones for a number of images, so that all runs are resampled alike.
    """
    # RandomState: NumPy keeps its streams for good, those of newer generators may change.
    draws = np.random.RandomState(0)
    counts = (
        np.bincount(draws.randint(0, images, images, dtype=np.int64), minlength=images)
        for _ in range(replicates)
    )
    return np.stack(list(counts)) / images


@dataclass(frozen=True)
class Sample:
    """A metric of one setting's runs. Leading axes, if any, are independent repetitions.

    Attributes:
        values: the metric of each seed, (…, seeds).
        resampled: the same on resampled test images, (…, seeds, replicates); None where a
            metric's parts per image are not stored.
    """

    values: Array
    resampled: Array | None

    def __neg__(self) -> "Sample":
        return Sample(-self.values, None if self.resampled is None else -self.resampled)

    def __sub__(self, other: "Sample") -> "Sample":
        """Return the differences, seed by seed and image by image."""
        both = self.resampled is not None and other.resampled is not None
        return Sample(
            self.values - other.values,
            self.resampled - other.resampled if both else None,  # type: ignore[operator]
        )


@dataclass(frozen=True)
class Contrast:
    """A difference of two settings' means, and the variance of what it is made of.

    Seeds and test images are crossed random factors: every seed sees every image. Hierarchical
    resampling of both counts their interaction up to three times and knows neither the n − 1
    of a few seeds nor Student's t (Owen 2007, The Pigeonhole Bootstrap). So images are
    resampled, the variance between seeds enters in closed form, the interaction is counted
    once, and the parts' quantiles are combined as by Banerjee (1960),

        half-width² = Σ t²_{n−1} · s²/n + z² · v_images,

    which covers at least nominally for normal parts whatever their shares.

    Attributes:
        difference: of the means, (…).
        seeds: variance of each sample's mean due to its seeds, and degrees of freedom; empty
            where a sample has one seed only.
        images: variance due to the test images without their interaction with seeds.
        least: variance due to the test images, interaction included.
    """

    difference: Array
    seeds: tuple[tuple[Array, int], ...]
    images: Array
    least: Array
    covers: str

    @staticmethod
    def of(*samples: Sample) -> "Contrast":
        """Return the contrast that is the sum of independent samples' means."""
        difference = np.sum([sample.values.mean(axis=-1) for sample in samples], axis=0)
        many = all(sample.values.shape[-1] > 1 for sample in samples)
        seeds, interaction = [], np.zeros_like(difference)
        resampled = [sample.resampled for sample in samples if sample.resampled is not None]
        for sample in samples if many else ():
            n = sample.values.shape[-1]
            variance = sample.values.var(axis=-1, ddof=1)
            seeds.append((variance / n, n - 1))
            if sample.resampled is not None:
                noisy = sample.resampled.var(axis=-2, ddof=1).mean(axis=-1)
                interaction = interaction + np.maximum(0, noisy - variance) / n
        least = np.zeros_like(difference)
        if resampled:
            means = np.sum([replicates.mean(axis=-2) for replicates in resampled], axis=0)
            least = means.var(axis=-1, ddof=1)
        covers = [name for name, there in (("seeds", seeds), ("images", resampled)) if there]
        images = np.maximum(0, least - interaction)
        return Contrast(difference, tuple(seeds), images, least, "+".join(covers))

    def half_width(self, alpha: float = 0.05) -> Array:
        """Return the half-width of the interval that misses with probability ``alpha``."""
        z = float(norm.isf(alpha / 2))
        parts = [float(t.isf(alpha / 2, freedom)) ** 2 * v for v, freedom in self.seeds]
        return np.sqrt(np.maximum(sum(parts) + z**2 * self.images, z**2 * self.least))

    def p_value(self) -> float:
        """Return the p-value of no difference: the alpha whose interval ends at zero.

        For a single contrast, not for repetitions.
        """
        size = abs(float(self.difference))
        if size == 0:
            return 1.0
        if float(self.half_width(_LEAST_P)) <= size:
            return _LEAST_P
        return float(brentq(lambda alpha: float(self.half_width(alpha)) - size, _LEAST_P, 1.0))


def compare(sample: Sample, baseline: Sample, paired: bool) -> Contrast:
    """Return the contrast of a setting and a baseline.

    Args:
        sample: the setting.
        baseline: the baseline, on the same test images.
        paired: the same seeds stand at the same places in both.
    """
    return Contrast.of(sample - baseline) if paired else Contrast.of(sample, -baseline)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values adjusted for their number (Holm 1979); None is no test."""
    adjusted: list[float | None] = [None] * len(p_values)
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[i] = largest
    return adjusted


def mcnemar(correct: Array, other: Array) -> tuple[int, int, float]:
    """Compare two given models on the same images by McNemar's exact test.

    Args:
        correct: whether the first is right, (images,).
        other: whether the second is.

    Returns:
        Images that only the first has right, that only the second has, and the two-sided
        p-value of Binomial(both, 1/2).
    """
    first, second = int(np.sum(correct & ~other)), int(np.sum(other & ~correct))
    p = binomtest(first, first + second).pvalue if first + second else 1.0
    return first, second, float(p)
