"""A job's commands in an Apptainer image: with its interpreter, the node's GPU, the job's folders.

The image is made from requirements/image.def. Its Python and libraries take the place of this
machine's; the folder of the suite, its data and its results are the node's own.
"""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nfe.data import prepared

# Where requirements/image.def has the environment.
PYTHON = "/opt/nfe-bench/.venv/bin/python"

# Which libraries the GPU needs only its node can tell. SingularityCE knows the same options.
_GPU = """\
    if [ -e /dev/nvidiactl ]; then gpu=(--nv)
    elif [ -e /dev/kfd ]; then gpu=(--rocm)
    fi
"""
_CONTAINED = """\
contained() {{
    local tool word gpu=() words=()
    if ! tool=$(command -v apptainer || command -v singularity); then
        echo 'slurm/site.yaml, container: no apptainer or singularity on PATH' >&2
        return 127
    fi
{gpu}    for word; do
        if [ "$word" = {here} ]; then word={there}; fi
        words+=("$word")
    done
    "$tool" exec ${{gpu[@]+"${{gpu[@]}}"}} --bind "$PWD" --pwd "$PWD" {options} "${{words[@]}}"
}}
"""


def function(image: str, python: str, gpus: int, folders: Sequence[str], further: str) -> str:
    """Return shell code that defines ``contained COMMAND …``.

    Args:
        image: the image.
        python: this machine's interpreter: the image's own takes its place in commands.
        gpus: GPUs that the job asks for; without any, none is shown to it.
        folders: what the command needs besides the working directory and the home folder.
        further: further options of ``apptainer exec``, as they are typed.
    """
    binds = [word for folder in folders for word in ("--bind", folder)]
    return _CONTAINED.format(
        gpu=_GPU if gpus else "",
        here=shlex.quote(python),
        there=PYTHON,
        options=shlex.join([*binds, *shlex.split(further), image]),
    )


def folders(config: Mapping[str, Any]) -> list[str]:
    """Return where a suite's data and results are, in so far as that is not below this folder.

    A link below this folder leads out of it, too: what it leads to is named.

    Args:
        config: the suite's configuration.
    """
    root = Path(config.get("output", "."))
    used = [Path(config.get("data_root", prepared.DEFAULT_ROOT)), root]
    used += [root / name for name in ("results", "artifacts")]
    return list(dict.fromkeys(_outside(used)))


def _outside(used: Iterable[Path]) -> Iterator[str]:
    here = Path.cwd()
    for path in used:
        # By the name that commands know, and where links lead.
        for place in (Path(os.path.abspath(path)), path.resolve()):
            if place.exists() and not place.is_relative_to(here):
                yield str(place)
