"""Python on the null GPU: functions called in a process of their own, and what was counted there.

``each`` is for tests, ``counts`` and ``waits`` for what runs in those processes.
"""

import ctypes
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from build import NAME, build

ROOT = Path(__file__).resolve().parents[2]


class Kind(IntEnum):
    """What is counted; see ``library/count.h``."""

    LAUNCH = 0
    CAPTURED = 1
    ASTRAY = 2
    GRAPH = 3
    COPY = 4
    WAIT = 5
    IDLE = 6


# --- In the tests: calls ----------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What one call returned, as JSON values, or why it did not return."""

    value: Any
    error: str | None

    def get(self) -> Any:
        """Return the value.

        Raises:
            AssertionError: the call failed; the message is its traceback.
        """
        assert self.error is None, self.error
        return self.value


def environment() -> dict[str, str]:
    """Return the environment of a process that sees the null GPU."""
    folder = str(build())
    own = {
        "LD_PRELOAD": f"{folder}/{NAME}",
        "LD_LIBRARY_PATH": folder,
        "TRITON_LIBCUDA_PATH": folder,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    return os.environ | own


@functools.cache
def each(
    function: Callable[..., Any], cases: Sequence[str], *arguments: str, seconds: float = 600
) -> dict[str, Outcome]:
    """Call ``function(case, *arguments)`` for every case, in one process on the null GPU.

    Args:
        function: of a module beside this one; what it returns becomes JSON values.
        cases: a tuple.
        arguments: the same for every case.
        seconds: how long it may take.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "outcomes"
        report.touch()
        name = Path(sys.modules[function.__module__].__file__ or "").stem
        call = [name, function.__name__, str(report), json.dumps(cases), *arguments]
        done = subprocess.run(
            [sys.executable, __file__, *call],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        lines = [json.loads(line) for line in report.read_text().splitlines()]
    died = Outcome(None, f"the process ended with {done.returncode}: {done.stderr[-3000:]}")
    return dict.fromkeys(cases, died) | {case: Outcome(*rest) for case, *rest in lines}


def _serve(module: str, function: str, report: str, cases: str, *arguments: str) -> None:
    called = getattr(importlib.import_module(module), function)
    for case in json.loads(cases):
        value, error = None, None
        try:
            value = called(case, *arguments)
        except Exception:
            error = traceback.format_exc()[-3000:]
        with Path(report).open("a") as file:
            file.write(json.dumps([case, value, error]) + "\n")


# --- In those processes: what happened ---------------------------------------------------------


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(NAME)


def counts(kind: Kind) -> Counter[str]:
    """Return how often what of a kind happened since ``reset``, by name."""
    found: Counter[str] = Counter()

    def note(number: int, name: bytes, times: int) -> None:
        if number == kind:
            found[name.decode()] += times

    _library().null_counts(
        ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_long)(note)
    )
    return found


def reset() -> None:
    """Count from zero again."""
    _library().null_reset()


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Count the host's waits for the device inside the block, by what waits and where.

    A place is the project's innermost two lines, as ``file:line < file:line``; threads of
    PyTorch's own have none.
    """
    found: Counter[str] = Counter()

    def note(name: bytes) -> None:
        frames = [f for f in traceback.extract_stack() if _is_own(f.filename)]
        lines = [f"{os.path.relpath(f.filename, ROOT)}:{f.lineno}" for f in frames[::-1][:2]]
        found[f"{name.decode()} at {' < '.join(lines) or 'a thread of PyTorch'}"] += 1

    hook = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(note)
    _library().null_hook(hook)
    try:
        yield found
    finally:
        _library().null_hook(None)


def _is_own(file: str) -> bool:
    return file.startswith((f"{ROOT}/nfe/", f"{ROOT}/baselines/"))


if __name__ == "__main__":
    _serve(*sys.argv[1:])
