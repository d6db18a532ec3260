"""A program in apptainer's place: it notes its words and runs the command on this machine."""

import sys
from pathlib import Path

from nfe.cluster import container

# The image's interpreter is this one here.
_RUN = f"""\
while [ $# -gt 0 ]; do
    case "$1" in
    exec | --nv | --rocm | --cleanenv) shift ;;
    --bind) [ -e "$2" ] || [ "$2" = '/a b' ] || exit 255; shift 2 ;;
    --pwd) cd "$2"; shift 2 ;;
    *) shift; break ;;
    esac
done
words=()
for word; do
    [ "$word" = {container.PYTHON} ] && word={sys.executable}
    words+=("$word")
done
exec "${{words[@]}}"
"""
_BUILD = "ls -A .image/nfe-bench .image/nfe-bench/nfe > {told}/taken\n"


def apptainer(folder: Path, name: str, runs: bool = True) -> Path:
    """Write the program, under a name, and return the folder that it is in."""
    tools = folder / "tools"
    tools.mkdir()
    does = _RUN if runs else _BUILD.format(told=tools)
    program = tools / name
    note = f"printf '%s\\n' \"$@\" > {tools}/told"
    program.write_text(f"#!/bin/bash\n{note}\n{does}", encoding="utf-8")
    program.chmod(0o755)
    return tools
