"""How often 95 % intervals of a difference hold the truth, by simulation.

Runs and test images are crossed: a part of the difference belongs to the seed, one to the image,
one to both. Compared: Student's t over seeds alone, plain hierarchical resampling of seeds and
images (percentiles), and the interval of nfe.report.statistics.

    python benchmarks/coverage.py benchmarks/coverage.csv
"""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm, t

from nfe.common.files import write_csv
from nfe.report.statistics import Contrast, Sample, image_weights

TRIALS, IMAGES, REPLICATES = 2000, 200, 300
# Standard deviations between seeds, between images, and of their interaction.
SHARES = {
    "seeds": (1, 0, 0.01),
    "images": (0, 1, 0.01),
    "interaction": (0, 0, 1),
    "all": (0.1, 1, 1),
    "all, more of seeds": (0.2, 1, 1),
}


def coverage(seeds: int, shares: tuple[float, float, float]) -> dict[str, float]:
    """Return the share of intervals that hold the true difference, 0, and the median width."""
    draws = np.random.default_rng(seeds)
    seed, image, both = shares
    parts = (
        seed * draws.standard_normal((TRIALS, seeds, 1))
        + image * draws.standard_normal((TRIALS, 1, IMAGES))
        + both * draws.standard_normal((TRIALS, seeds, IMAGES))
    )
    sample = Sample(parts.mean(axis=-1), parts @ image_weights(IMAGES, REPLICATES).T)
    difference = sample.values.mean(axis=-1)
    error = sample.values.std(axis=-1, ddof=1) / np.sqrt(seeds)
    chosen = draws.integers(0, seeds, (REPLICATES, seeds))
    counts = np.stack([np.bincount(row, minlength=seeds) for row in chosen]) / seeds
    low, high = np.quantile(
        np.einsum("tsb,bs->tb", sample.resampled, counts), [0.025, 0.975], axis=-1
    )
    half = Contrast.of(sample).half_width()
    truth = np.sqrt(seed**2 / seeds + image**2 / IMAGES + both**2 / (seeds * IMAGES))
    return {
        "student_t": float(np.mean(np.abs(difference) <= t.isf(0.025, seeds - 1) * error)),
        "plain_bootstrap": float(np.mean((low <= 0) & (high >= 0))),
        "ours": float(np.mean(np.abs(difference) <= half)),
        "ours_width": float(np.median(half) / (norm.isf(0.025) * truth)),
    }


def main(path: Path) -> None:
    """Write the table."""
    rows = [
        {"variance": name, "seeds": n, **{k: f"{v:.3f}" for k, v in coverage(n, shares).items()}}
        for name, shares in SHARES.items()
        for n in (2, 3, 5, 10)
    ]
    write_csv(path, list(rows[0]), rows)
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
