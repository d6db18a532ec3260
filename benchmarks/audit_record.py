"""What the audit has made so far: rows, each test image's outcome, and how it was made."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import make_directory, read_json, read_npz, write_csv, write_json, write_npz
from nfe.report.statistics import Array

Key = tuple[str, int]
COLUMNS = (
    *("setting", "compared_with", "seed", "status", "accuracy", "nll", "ece"),
    *("best_test_accuracy", "best_test_nll", "parameters", "macs_nonzero", "macs_executed"),
)
# The columns of ``evaluation.per_image`` that differences are made of.
PER_IMAGE = {"correct": np.bool_, "nll": np.float32}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return a table's rows as text; none where there is no table."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _how(configuration: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same for all runs of a table."""
    same = {name: value for name, value in configuration.items() if name != "seeds"}
    return {**same, "device_name": environment["device_name"]}


@dataclass
class Record:
    """A task's tables in a folder; a run stands there with its row and its images, or not at all.

    Attributes:
        folder: where ``audit_TASK.csv``, ``audit_TASK_images.npz`` and ``audit_TASK.json`` are.
        task: the task's name.
        order: the settings' names, as the table has them.
        rows: each run's row, as text.
        images: ``PER_IMAGE`` of the runs that came to an end.
    """

    folder: Path
    task: str
    order: Sequence[str]
    rows: dict[Key, dict[str, str]] = field(default_factory=dict)
    images: dict[Key, dict[str, Array]] = field(default_factory=dict)

    def path(self, end: str) -> Path:
        """Return a file's path by the end of its name."""
        return self.folder / f"audit_{self.task}{end}"

    @classmethod
    def read(cls, folder: Path, task: str, order: Sequence[str]) -> "Record":
        """Return what stands in the folder; a row whose images are missing does not count.

        Raises:
            InputError: a file is damaged.
        """
        record = cls(folder, task, order)
        stored = record._read_images()
        for row in read_rows(record.path(".csv")):
            key = row["setting"], int(row["seed"])
            if row["setting"] in order and (row["status"] != "ok" or key in stored):
                record.rows[key] = row
        record.images = {key: stored[key] for key in record.rows if key in stored}
        return record

    def _read_images(self) -> dict[Key, dict[str, Array]]:
        if not self.path("_images.npz").exists():
            return {}
        stored = read_npz(self.path("_images.npz"))
        keys = zip(stored["setting"], stored["seed"], strict=True)
        return {
            (str(setting), int(seed)): {name: stored[name][number] for name in PER_IMAGE}
            for number, (setting, seed) in enumerate(keys)
        }

    def begin(self, configuration: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write how the runs are made; what stands must have been made the same way.

        Raises:
            InputError: it was made with other settings or on another device, or the folder cannot
                be written.
        """
        make_directory(self.folder)
        path, seeds = self.path(".json"), {*configuration["seeds"]}
        if self.rows:
            before = read_json(path)
            old = _how(before["configuration"], before["environment"])
            for name, value in _how(configuration, environment).items():
                if old.get(name) != value:
                    raise InputError(
                        f"{path}: {name} is {value!r} and what stands there was made with "
                        f"{old.get(name)!r}: allowed: the same, or another --output"
                    )
            environment = before["environment"]
            seeds |= {seed for _, seed in self.rows}
        configuration = {**configuration, "seeds": sorted(seeds)}
        write_json(path, {"configuration": configuration, "environment": environment})

    def add(self, row: Mapping[str, Any], per_image: Mapping[str, Array] | None) -> None:
        """Take in a run and write the files anew, images first."""
        key = row["setting"], row["seed"]
        self.rows[key] = {name: str(row.get(name, "")) for name in COLUMNS}
        if per_image is not None:
            self.images[key] = {name: per_image[name] for name in PER_IMAGE}
        self._write()

    def _write(self) -> None:
        keys = [(name, seed) for name in self.order for seed in self.seeds(name)]
        held = [key for key in keys if key in self.images]
        stacked = {
            name: np.stack([self.images[key][name] for key in held]).astype(kind)
            for name, kind in PER_IMAGE.items()
            if held
        }
        if held:
            names, seeds = (np.array(column) for column in zip(*held, strict=True))
            write_npz(self.path("_images.npz"), {"setting": names, "seed": seeds, **stacked})
        write_csv(self.path(".csv"), COLUMNS, [self.rows[key] for key in keys])

    def seeds(self, setting: str) -> list[int]:
        """Return the seeds of a setting that stand here, ascending."""
        return sorted(seed for name, seed in self.rows if name == setting)
