"""The null GPU's library, compiled for the installed PyTorch.

Sources stand in ``library/``. To them come stubs of every other symbol of CUDA's runtime and
driver, cuBLAS and cuDNN that PyTorch's libraries leave undefined; so what a new PyTorch needs is
always there, and seen in the counts as a call that does nothing.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "library"
SITE = Path(sysconfig.get_path("purelib"))
# What CUDA and its libraries name their functions; cuFile is a real library of PyTorch's.
CUDA = r"(?:__cuda|cuda|cublas|cudnn|cu(?!File)[A-Z])\w+"
# Programs that look for a driver find this one.
NAME = "libcuda.so.1"


def compiler() -> str | None:
    """Return the C compiler, None where there is none."""
    return shutil.which(os.environ.get("CC", "gcc"))


def includes() -> list[Path]:
    """Return the folders of the CUDA headers that come with PyTorch and Triton."""
    return [*sorted(SITE.glob("nvidia/*/include")), SITE / "triton/backends/nvidia/include"]


def _symbols(which: str, *files: Path) -> set[str]:
    listed = subprocess.run(["nm", which, *files], capture_output=True, text=True, check=False)
    return set(re.findall(rf" [UT] ({CUDA})\b", listed.stdout))


def needed() -> set[str]:
    """Return the names of all CUDA functions that PyTorch and Triton call."""
    # Triton's own functions are compiled when they are first needed.
    triton = SITE / "triton/backends/nvidia/driver.c"
    called = set(re.findall(rf"\b({CUDA})\b(?=\()", triton.read_text()))
    libraries = sorted((SITE / "torch/lib").glob("*.so"))
    return called | _symbols("-Du", *libraries)


def stubs(names: set[str]) -> str:
    """Return C code of functions that succeed, do nothing and say so in the counts."""
    one = 'int {0}(void) {{ count(IDLE, "{0}"); return 0; }}'
    return "\n".join(['#include "count.h"', *map(one.format, sorted(names)), ""])


def _key() -> str:
    """Return a name for everything that the library is made of."""
    torch = sorted(path.name for path in SITE.glob("torch-*.dist-info"))
    triton = sorted(path.name for path in SITE.glob("triton-*.dist-info"))
    parts = [p.read_bytes() for p in [Path(__file__), *sorted(SOURCES.iterdir())]]
    return hashlib.sha256(b"\0".join([*parts, repr((SITE, torch, triton)).encode()])).hexdigest()


def build() -> Path:
    """Return the folder of the library, compiled where it is not there yet.

    Raises:
        RuntimeError: the compiler refuses the sources.
    """
    folder = Path(tempfile.gettempdir()) / f"nullgpu-{os.getuid()}" / _key()[:16]
    if not (folder / NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _compile(Path(scratch))
            (Path(scratch) / NAME).rename(folder / NAME)
    return folder


def _compile(folder: Path) -> None:
    flags = ["-std=c17", "-O2", "-fPIC", "-Wall", "-Werror", "-Wno-unused-parameter"]
    flags += [f"-I{path}" for path in [SOURCES, *includes()]]
    own = sorted(SOURCES.glob("*.c"))
    _run(folder, "-c", *flags, *own)
    objects = [folder / f"{path.stem}.o" for path in own]
    rest = folder / "stubs.c"
    rest.write_text(stubs(needed() - _symbols("-g", *objects)))
    _run(folder, "-c", *flags, rest)
    _run(folder, "-shared", f"-Wl,-soname,{NAME}", "-o", NAME, *objects, folder / "stubs.o")


def _run(folder: Path, *arguments: str | Path) -> None:
    command = [compiler() or "gcc", *arguments, "-pthread"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr}")
