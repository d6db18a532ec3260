"""A small project as a team has it: an origin with a made suite, and clones of it."""

import io
import os
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import yaml

from nfe.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "Snakefile",
    "workflow",
    "profiles",
    "nfe",
    "baselines",
    "config",
    "CITATION.cff",
    "pyproject.toml",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    ".gitattributes",
)
# It stands in for config/quick.yaml, so that all else is the repository's own.
CONFIG = {
    "suite": "quick",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "runs_per_process": 9,
    "groups": {
        "headline": [{"method": "single"}, {"method": "nfe", "exits": 2, "seeds": 2}],
    },
}
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "GIT_AUTHOR_NAME": "A. Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_COMMITTER_NAME": "A. Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
    "DVC_NO_ANALYTICS": "1",
}


class Clone:
    """A working copy in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results" / "quick"
        self.artifacts = folder / "artifacts" / "quick"
        self.remote = folder / ".dvc" / "remote" / "files" / "md5"

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            text=True,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __call__(self, *command: str, fails: bool = False) -> str:
        """Run a command and return what it says; it fails exactly where that is expected."""
        process = self.start(*command)
        said, _ = process.communicate(timeout=300)
        assert (process.returncode != 0) == fails, said
        return said

    def bench(self, *arguments: str, fails: bool = False) -> str:
        """Run nfe-bench here, in this process: starting another takes seconds each time."""
        said = io.StringIO()
        with chdir(self.folder), redirect_stdout(said), redirect_stderr(said):
            status = main(arguments)
        assert (status != 0) == fails, said.getvalue()
        return said.getvalue()

    def verify(self, *options: str, fails: bool = False) -> str:
        return self.bench("verify", "results/quick", *options, fails=fails)

    def snakemake(self, *arguments: str) -> str:
        return self("snakemake", "--cores", "1", *arguments)

    def commit(self, message: str) -> None:
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--message", message)

    def clone(self, folder: Path) -> "Clone":
        subprocess.run(["git", "clone", "--quiet", self.folder, folder], check=True)
        return Clone(folder)

    def objects(self) -> list[Path]:
        """Return the objects of the default remote; what a killed push leaves is none."""
        files = (path for path in self.remote.rglob("*") if path.is_file())
        return sorted(path for path in files if path.suffix != ".tmp")


def make_origin(folder: Path) -> Clone:
    """Return a repository with the quick suite's small stand-in: made, pushed, committed."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "config" / "quick.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_text())
    stages = pipeline["stages"]
    pipeline["stages"] = {name: stages[name] for name in ("digits", "tiny-imagenet-32", "quick")}
    absent = ("pai", "ratio", "tiny-imagenet")
    pipeline["plots"] = [p for p in pipeline["plots"] if not any(name in str(p) for name in absent)]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    # Nothing is released here yet.
    citation = yaml.safe_load((folder / "CITATION.cff").read_text())
    del citation["references"]
    (folder / "CITATION.cff").write_text(yaml.safe_dump(citation, sort_keys=False))
    origin = Clone(folder)
    origin("git", "init", "--quiet", "--initial-branch", "main")
    origin.commit("Code and configuration")
    origin("dvc", "commit", "--force", "tiny-imagenet-32")
    origin("dvc", "repro")
    origin("dvc", "push")
    origin.commit("Results")
    return origin
