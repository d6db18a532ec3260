"""Every command in README, CONTRIBUTING and docs/ is run, or checked as far as can be, and why."""

import csv
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from released import ROOT, Clone

from nfe.cli.main import build_parser

# The built site has copies of released suites' pages in it.
SITE = ROOT / "docs" / "_site"
WRITTEN = sorted(p for p in (ROOT / "docs").rglob("*.md") if not p.is_relative_to(SITE))
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN)
PROGRAMS = "nfe-bench|snakemake|make|dvc|python|git|squeue|sinfo|sacctmgr"

# How a command is shown to work. RUN: as it stands, in a clone. Another command in its place, run
# in a clone: a dry run. A file of tests: where it, or what it calls, is run. PARSED: its words are
# accepted by the parser, and no more, for the reason given.
RUN, PARSED = "run", "parsed"
NETWORK = "downloads hundreds of megabytes; tests/data/test_download.py fetches from a local server"
HOURS = "trains for longer than a test may; what it calls is tested by"
CLUSTER = "tests/slurm/test_suites.py", "needs a SLURM cluster; the tests start one"
OUTSIDE = "from the wheel, in an empty folder"
OWN_FOLDER = "true", "a reader's own folder"
OWN_IMAGES = "tests/workflow/test_own_images.py"
OWN_METHOD = (
    "tests/workflow/test_own_method_page.py",
    "the page's commands, one after the other",
)
OWN_NETWORKS = (
    "tests/workflow/test_own_networks_page.py",
    "the page's commands, one after the other",
)
CHALLENGE = (
    "tests/workflow/test_challenge_page.py",
    "the page's commands, one after the other",
)
ROW = "digits8_wrn-10-1_nfe_exits=2_e20_s0_f2ba9fed13"
TUNED_EXAMPLE = (
    "tests/method/test_contributed_tuning.py",
    "the section's commands, one after the other",
)
HOW: dict[str, tuple[str, str]] = {
    # README
    "make benchmark": ("make -n benchmark", f"{HOURS} tests/workflow/test_workflow.py"),
    "make benchmark FRESH=1": (
        "make -n benchmark FRESH=1",
        f"{HOURS} tests/workflow/test_workflow.py",
    ),
    "make test": ("make -n test", "would start the tests inside the tests"),
    "make docs": ("make -n docs", "continuous integration runs it"),
    "make .venv": ("make -n .venv", "installs the environment that runs this test"),
    "source .venv/bin/activate": ("true", "a virtual environment is active here: the tests' own"),
    "snakemake --cores all": (RUN, ""),
    "snakemake --cores all --resources gpu=1": (
        "snakemake -n --quiet --cores all --resources gpu=1",
        "only planned: the default suite asks for no GPU",
    ),
    "snakemake --cores all --configfile config/SUITE.yaml": (
        "tests/workflow/test_workflow.py",
        "SUITE stands for a name",
    ),
    "snakemake --report report.html": ("tests/workflow/test_workflow.py", "in a small suite"),
    "nfe-bench tables --config config/quick.yaml --partial": (RUN, ""),
    "nfe-bench data fetch cifar100": (PARSED, NETWORK),
    "nfe-bench data prepare cifar100": (PARSED, NETWORK),
    "nfe-bench data prepare tiny-imagenet --resolution 32 --source tiny-imagenet-200.zip": (
        PARSED,
        "needs the data; tests/data/test_tiny_imagenet.py prepares a small stand-in",
    ),
    "dvc pull": (RUN, ""),
    "dvc config --local core.no_scm true": (
        "tests/docs/test_source_archive.py",
        "in a source archive, not in a clone",
    ),
    "nfe-bench verify results/quick": (RUN, ""),
    "nfe-bench verify results/quick --deep": ("tests/workflow/test_clones.py", "in a small suite"),
    "nfe-bench predict --run RUN image.png": (
        "tests/engine/test_prediction.py",
        "RUN and image.png stand for a reader's own",
    ),
    "nfe-bench list methods": (RUN, ""),
    "nfe-bench plan --config config/paper.yaml --summary --gpu a100": (
        "nfe-bench plan --config config/quick.yaml --summary --gpu a100",
        "seconds more for the larger suite",
    ),
    "nfe-bench train --dataset digits --architecture wrn-10-2 --method nfe --set exits=3 "
    "sparsity=0.5 pruning=snip --epochs 30 --seed 0 --output runs/nfe": (
        "nfe-bench train --dataset digits --architecture wrn-10-2 --method nfe --set exits=3 "
        "sparsity=0.5 pruning=snip --epochs 1 --seed 0 --output runs/nfe",
        "one epoch for thirty",
    ),
    "nfe-bench benchmark --architecture wrn-16-4 --method nfe --set exits=3 --batch 64 "
    "--image 32": (
        "nfe-bench benchmark --architecture wrn-10-1 --method nfe --set exits=3 --batch 8 "
        "--image 8 --threads 1",
        "a small network for a large one",
    ),
    'snakemake -s "$(nfe-bench snakefile)" --cores all --configfile config/mine.yaml': (
        "tests/test_wheel.py",
        OUTSIDE,
    ),
    "nfe-bench new suite mine": ("tests/test_wheel.py", OUTSIDE),
    # CONTRIBUTING
    "make test-slurm": ("make -n test-slurm", "installs SLURM as root; .ci/run calls it"),
    "make test-browser": ("make -n test-browser", "continuous integration runs it"),
    "make test-nullgpu": ("make -n test-nullgpu", "continuous integration runs it"),
    "make lint": ("make -n lint", "continuous integration runs it"),
    ".venv/bin/python -m pip install --no-deps --no-build-isolation examples/multi_head": (
        "tests/method/test_contributed_method.py",
        "into a folder of its own",
    ),
    ".venv/bin/nfe-bench list methods": ("nfe-bench list methods", "from the active environment"),
    ".venv/bin/nfe-bench train --dataset digits --architecture wrn-10-1 --method multi_head "
    "--set members=2 --epochs 20 --seed 0 --output runs/multi-head": (
        "tests/method/test_contributed_method.py",
        "two epochs for twenty",
    ),
    ".venv/bin/snakemake --cores all --configfile config/multi-head-tuning.yaml": TUNED_EXAMPLE,
    ".venv/bin/nfe-bench tune --config config/multi-head-tuning.yaml "
    "--runs results/multi-head-tuning/runs.csv "
    "--finalists config/multi-head-finalists.yaml": TUNED_EXAMPLE,
    ".venv/bin/snakemake --cores all --configfile config/multi-head-confirm.yaml": TUNED_EXAMPLE,
    ".venv/bin/nfe-bench tune --config config/multi-head-tuning.yaml "
    "--runs results/multi-head-confirm/runs.csv "
    "--output config/multi-head-tuned.yaml": TUNED_EXAMPLE,
    # docs/artifacts.md
    "git clone <this repository>": ("true", "the clone in which these tests run is made so"),
    "git clone URL nfe-bench": ("true", "the clone in which these tests run is made so"),
    "cd nfe-bench": ("true", "the tests run there"),
    "snakemake -n": (RUN, ""),
    "dvc repro quick": (
        "dvc repro --dry quick",
        "tests/workflow/test_clones.py runs it on a small suite",
    ),
    "dvc repro SUITE": ("tests/report/test_release.py", "SUITE stands for a name"),
    "dvc status": (RUN, ""),
    "dvc params diff HEAD~1": ("dvc params diff HEAD", "the clone may be of one commit"),
    "dvc metrics show": (RUN, ""),
    "dvc plots show": (RUN, ""),
    "dvc push": ("tests/workflow/test_clones.py", "writes to the remote"),
    "dvc pull --force": ("tests/workflow/test_clones.py", "after a merge"),
    "git checkout -- .dvc/remote": (RUN, ""),
    "git checkout --theirs dvc.lock results": ("tests/workflow/test_clones.py", "in a merge"),
    "dvc remote add --default team /mnt/shared/nfe-bench": (
        "tests/workflow/test_remotes.py",
        "a folder",
    ),
    "dvc config cache.shared group": ("tests/workflow/test_remotes.py", "a shared folder"),
    "dvc remote add --default team ssh://user@host/srv/nfe-bench": (RUN, ""),
    "dvc remote modify --local team keyfile ~/.ssh/id_ed25519": (
        "dvc remote add --force team ssh://user@host/srv/nfe-bench && "
        "dvc remote modify --local team keyfile ~/.ssh/id_ed25519",
        "after the command above it",
    ),
    "dvc remote add --default team s3://bucket/nfe-bench": ("tests/workflow/test_remotes.py", "S3"),
    "dvc remote modify team endpointurl https://s3.example.org": (
        "tests/workflow/test_remotes.py",
        "S3",
    ),
    "dvc remote modify --local team access_key_id KEY": ("tests/workflow/test_remotes.py", "S3"),
    "dvc remote modify --local team secret_access_key SECRET": (
        "tests/workflow/test_remotes.py",
        "S3",
    ),
    "dvc remote modify team verify true": ("tests/workflow/test_remotes.py", "a folder and S3"),
    "nfe-bench verify results/SUITE": (
        "tests/report/test_verification.py",
        "SUITE stands for a name",
    ),
    "git add -A": ("tests/report/test_release.py", "before and after a release"),
    'git commit -m "Results of SUITE"': ("tests/report/test_release.py", "before a release"),
    'git commit -m "Release SUITE 1.0.0"': ("tests/report/test_release.py", "after a release"),
    "nfe-bench release SUITE 1.0.0": ("tests/report/test_release.py", "a small suite"),
    "snakemake --cores all --configfile config/GROUP-NAME.yaml": (
        "tests/workflow/test_workflow.py",
        "a suite of one's own",
    ),
    "nfe-bench verify results/GROUP-NAME --deep": (
        "tests/workflow/test_clones.py",
        "a small suite",
    ),
    # docs/datasets
    "nfe-bench data fetch cifar100 --root data": (PARSED, NETWORK),
    "nfe-bench data prepare cifar100 --root data": (PARSED, NETWORK),
    "nfe-bench data prepare tiny-imagenet --source PATH": (PARSED, NETWORK),
    "nfe-bench data check cifar100 --root data": (PARSED, NETWORK),
    "nfe-bench data prepare tiny-imagenet-c --resolution 32": (PARSED, NETWORK),
    # docs/own-data.md
    "nfe-bench new dataset birds": (OWN_IMAGES, "the page's commands, one after the other"),
    'nfe-bench data prepare birds --source birds --resolution 32 --licence "CC BY 4.0"': (
        OWN_IMAGES,
        "the page's commands, one after the other",
    ),
    "nfe-bench new suite my-birds --dataset birds --architecture wrn-10-1 --epochs 5": (
        OWN_IMAGES,
        "the page's commands, one after the other",
    ),
    "nfe-bench plan --config config/my-birds.yaml": (
        OWN_IMAGES,
        "the page's commands, one after the other",
    ),
    'snakemake -s "$(nfe-bench snakefile)" --cores all --configfile config/my-birds.yaml': (
        OWN_IMAGES,
        "the page's commands, one after the other",
    ),
    "nfe-bench verify results/my-birds": (OWN_IMAGES, "the page's commands, one after the other"),
    "nfe-bench predict --run RUN new.jpg": (OWN_IMAGES, "with a run's folder and an image"),
    "nfe-bench train --dataset birds …": (OWN_IMAGES, "arguments left out"),
    # docs/own-networks.md
    "nfe-bench new architecture small --network my_nets:small --set width=12 --channels 1 "
    "--resolution 8": OWN_NETWORKS,
    "nfe-bench fits small --channels 1 --resolution 8": OWN_NETWORKS,
    "nfe-bench new suite my-backbone --architecture small --epochs 5": OWN_NETWORKS,
    "nfe-bench plan --config config/my-backbone.yaml": OWN_NETWORKS,
    'snakemake -s "$(nfe-bench snakefile)" --cores all '
    "--configfile config/my-backbone.yaml": OWN_NETWORKS,
    "nfe-bench train --dataset digits --num-classes 5 --architecture small --method single "
    "--epochs 10 --recipe lr=0.05 --output runs/pretraining": OWN_NETWORKS,
    "nfe-bench new architecture small-tuned --network my_nets:small --set width=12 --channels 1 "
    "--resolution 8 --pretrained runs/pretraining/model.safetensors": OWN_NETWORKS,
    'snakemake -s "$(nfe-bench snakefile)" --cores all '
    "--configfile config/fine-tune.yaml": OWN_NETWORKS,
    "nfe-bench fits ARCHITECTURE …": ("tests/engine/test_fits.py", "prints the page's table"),
    # docs/own-method.md
    "nfe-bench new method my_heads": OWN_METHOD,
    "python -m pip install --no-deps --no-build-isolation ./my_heads": OWN_METHOD,
    "nfe-bench fits wrn-10-1 torchvision:mobilenet_v3_small --methods my_heads": OWN_METHOD,
    'snakemake -s "$(nfe-bench snakefile)" --cores all '
    "--configfile config/my-heads-tuning.yaml": OWN_METHOD,
    "nfe-bench tune --runs results/my-heads-tuning/runs.csv "
    "--output config/my-heads-tuned.yaml": OWN_METHOD,
    "nfe-bench plan --config config/my-heads.yaml": OWN_METHOD,
    'snakemake -s "$(nfe-bench snakefile)" --cores all '
    "--configfile config/my-heads.yaml": OWN_METHOD,
    "nfe-bench verify results/my-heads": OWN_METHOD,
    "nfe-bench compare results/my-heads --baseline single": OWN_METHOD,
    # docs/challenge.md
    f"nfe-bench run --plan results/quick/plan-*.json --root again --run {ROW}": CHALLENGE,
    "nfe-bench tables --plan results/quick/plan-*.json --root again --partial": CHALLENGE,
    'nfe-bench diff results/quick again/results/quick | grep -v "only in"': CHALLENGE,
    f"nfe-bench compare --run results/quick/runs/{ROW} again/results/quick/runs/{ROW}": CHALLENGE,
    "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 nfe-bench run "
    f"--plan results/quick/plan-*.json --root other --run {ROW}": CHALLENGE,
    f"nfe-bench compare --run results/quick/runs/{ROW} other/results/quick/runs/{ROW}": CHALLENGE,
    "snakemake --cores all --configfile config/challenge-tuning.yaml": CHALLENGE,
    "nfe-bench tune --config config/challenge-tuning.yaml "
    "--runs results/challenge-tuning/runs.csv --output config/challenge-tuned.yaml": CHALLENGE,
    "nfe-bench plan --config config/challenge.yaml": CHALLENGE,
    "snakemake --cores all --configfile config/challenge.yaml": CHALLENGE,
    "nfe-bench verify results/challenge": CHALLENGE,
    "nfe-bench compare results/challenge nfe": CHALLENGE,
    # docs/results-page.md
    "nfe-bench page results/quick": (RUN, ""),
    "nfe-bench page results/quick --figures": (RUN, ""),
    # docs/protocols.md
    "snakemake --cores all --configfile config/tuning-tiny-imagenet.yaml": (
        "snakemake -n --quiet --cores all --configfile config/tuning-tiny-imagenet.yaml",
        "hours, and the data",
    ),
    "nfe-bench tune --config config/tuning-tiny-imagenet.yaml "
    "--runs results/tuning-tiny-imagenet/runs.csv "
    "--finalists config/tuned/tiny-imagenet-finalists.yaml": (PARSED, "needs the runs above"),
    "snakemake --cores all --configfile config/confirm-tiny-imagenet.yaml": (
        "tests/suite/test_tuning_stages.py",
        "needs the finalists above",
    ),
    "nfe-bench tune --config config/tuning-tiny-imagenet.yaml "
    "--runs results/confirm-tiny-imagenet/runs.csv --output config/tuned/tiny-imagenet.yaml": (
        PARSED,
        "needs the runs above",
    ),
    "snakemake --cores all --configfile config/tuning.yaml": (
        "snakemake -n --cores all --configfile config/tuning.yaml",
        "hours, where it has not been made",
    ),
    "nfe-bench tune --runs results/tuning/runs.csv --output config/tuned/digits.yaml": (RUN, ""),
    # docs/reference-audit.md
    "python benchmarks/audit.py tiny-imagenet": (
        "python -m py_compile benchmarks/audit.py",
        "trains for an hour, and needs the data; rehearsed in tests/benchmarks/test_audit.py",
    ),
    # docs/performance.md
    "python benchmarks/launches.py": (
        "python -m py_compile benchmarks/launches.py",
        "minutes; tests/nullgpu measures the same in smaller networks",
    ),
    "python tests/nullgpu/costs.py": (
        "python -m py_compile tests/nullgpu/costs.py",
        "writes a table that tests/nullgpu holds the engine to",
    ),
    "python benchmarks/speed.py": (
        "python -m py_compile benchmarks/speed.py",
        "an hour of measuring",
    ),
    "python benchmarks/step.py": (
        "python -m py_compile benchmarks/step.py",
        "measures for minutes",
    ),
    "python benchmarks/allocator.py": (
        "python -m py_compile benchmarks/allocator.py",
        f"{HOURS} tests/common/test_allocator.py",
    ),
    "python benchmarks/graph.py": (
        "python -m py_compile benchmarks/graph.py",
        "measures for minutes, on an idle machine",
    ),
    "python benchmarks/waiting.py": (
        "python -m py_compile benchmarks/waiting.py",
        "measures for minutes, on an idle machine; tests/common/test_waiting.py",
    ),
    "python benchmarks/bare.py": (
        "python -m py_compile benchmarks/bare.py",
        "measures for a minute, on an idle machine",
    ),
    "python benchmarks/compact.py": (
        "python benchmarks/compact.py --list",
        "measures for most of an hour; tests/benchmarks/test_compact_table.py takes small networks",
    ),
    "python benchmarks/training_time.py": (
        "python -m py_compile benchmarks/training_time.py",
        "measures for a quarter of an hour; tests/benchmarks/test_training_time.py",
    ),
    "python benchmarks/live.py": (
        "python -m py_compile benchmarks/live.py",
        "takes minutes; tests/benchmarks/test_live_table.py",
    ),
    "python benchmarks/precision.py": (
        "python -m py_compile benchmarks/precision.py",
        "trains for hours",
    ),
    "python benchmarks/gpu.py": ("python -m py_compile benchmarks/gpu.py", "needs a GPU"),
    "python benchmarks/gpu_results.py pack --output images.npz config/tiny-imagenet-20.yaml": (
        "tests/benchmarks/test_gpu_results.py",
        "needs the data",
    ),
    "python benchmarks/gpu_results.py train --bundle images.npz --root made "
    "config/tiny-imagenet-20.yaml": ("tests/benchmarks/test_gpu_results.py", "needs a GPU"),
    "python benchmarks/gpu_results.py latency --bundle images.npz --root made "
    "config/tiny-imagenet-20.yaml": ("tests/benchmarks/test_gpu_results.py", "needs a GPU"),
    "nfe-bench benchmark --architecture A --method M": (PARSED, "A and M stand for names"),
    # docs/results.md
    "nfe-bench verify results/tiny-imagenet-20": (RUN, ""),
    "nfe-bench compare results/tiny-imagenet-20 nfe deep_ensemble": (RUN, ""),
    "python benchmarks/families.py": (
        "python -m py_compile benchmarks/families.py",
        "tests/benchmarks/test_families.py",
    ),
    # docs/results-tiny-imagenet-cpu.md
    "nfe-bench verify results/tiny-imagenet-cpu": (RUN, ""),
    "nfe-bench compare results/tiny-imagenet-cpu nfe deep_ensemble": (RUN, ""),
    # docs/statistics.md
    "nfe-bench compare": ("nfe-bench compare results/quick single nfe", "arguments left out"),
    "nfe-bench compare results/quick": (RUN, ""),
    "nfe-bench compare results/quick --baseline deep_ensemble": (RUN, ""),
    "nfe-bench compare results/quick nfe deep_ensemble": (RUN, ""),
    "nfe-bench compare results/quick nfe --power": (RUN, ""),
    "nfe-bench compare results/quick --group pai --baseline "
    '"nfe, M 2, ratio 0.5/0.5, exits after 1, granularity weight, scope global" --json': (RUN, ""),
    "nfe-bench compare --run RUN RUN": (
        "tests/report/test_comparison.py",
        "RUN stands for two runs",
    ),
    # docs/evaluation.md
    "nfe-bench evaluate --run RUN": (
        "tests/engine/test_robustness_of_runs.py",
        "RUN stands for a name",
    ),
    "nfe-bench evaluate --run RUN --ood photographs svhn --corruptions": (
        "tests/engine/test_robustness_of_runs.py",
        "RUN stands for a name",
    ),
    "nfe-bench data prepare NAME-c": (
        "tests/engine/test_robustness.py",
        "NAME stands for a data set",
    ),
    "nfe-bench verify": ("tests/report/test_verification.py", "arguments left out"),
    # docs/paper-suite.md
    "nfe-bench plan": ("nfe-bench plan --config config/quick.yaml", "arguments left out"),
    "nfe-bench plan --config config/paper.yaml --summary": (
        "nfe-bench plan --config config/quick.yaml --summary",
        "seconds more for the larger suite",
    ),
    "nfe-bench figure capacity --runs results/paper/runs.csv --output figures/paper": (
        "tests/report/test_figures.py",
        "of the paper suite, which is not made here",
    ),
    "nfe-bench tables --config config/paper.yaml --partial": (
        "nfe-bench tables --config config/quick.yaml --partial",
        "of the paper suite, which is not made here",
    ),
    "snakemake --cores 2 --configfile config/paper-rehearsal.yaml --config output=reproduction": (
        "tests/suite/test_paper_suite.py",
        "one epoch and one seed",
    ),
    "snakemake --profile slurm --config only=headline": CLUSTER,
    "snakemake --profile slurm --config only=[pai,grouping_ratio]": CLUSTER,
    "snakemake --profile slurm --config seeds=1": CLUSTER,
    # docs/slurm.md
    "nfe-bench new slurm mine": ("tests/test_wheel.py", OUTSIDE),
    "nfe-bench doctor --config config/mine.yaml": ("tests/test_wheel.py", OUTSIDE),
    'snakemake -s "$(nfe-bench snakefile)" --profile slurm': (
        "tests/slurm/test_outside_a_clone.py",
        "needs a SLURM cluster; the tests start one",
    ),
    'sbatch slurm/head.sh -s "$(nfe-bench snakefile)"': (
        "tests/slurm/test_head.py",
        "needs a SLURM cluster; the tests start one",
    ),
    "snakemake --profile slurm": CLUSTER,
    "snakemake --profile slurm -n": CLUSTER,
    "snakemake --profile slurm --configfile config/tiny-imagenet.yaml": CLUSTER,
    "snakemake --profile slurm --jobs 1 -- results/paper/runs/NAME/metrics.json": CLUSTER,
    "nfe-bench doctor": (RUN, ""),
    "nfe-bench doctor --config config/paper.yaml": (
        "tests/cluster/test_site.py",
        "needs the site's data",
    ),
    "nfe-bench plan --config config/paper.yaml | head -1": (
        "nfe-bench plan --config config/quick.yaml | head -1",
        "seconds more for the larger suite",
    ),
    'sinfo -o "%P %a %l %G"': CLUSTER,
    "sacctmgr show assoc user=$USER format=account,qos": CLUSTER,
    "mkdir -p /project/ME/nfe-venv": OWN_FOLDER,
    "ln -s /project/ME/nfe-venv .venv": OWN_FOLDER,
    "export UV_CACHE_DIR=/project/ME/uv PIP_CACHE_DIR=/project/ME/pip": OWN_FOLDER,
    "make .venv LOCK=requirements/cuda12.txt": (
        "tests/docs/test_other_builds.py",
        "downloads gigabytes; that it would install that lock",
    ),
    "make image": ("tests/cluster/test_container.py", "needs Apptainer; a stand-in is told"),
    ".venv/bin/uv pip install --python .venv/bin/python --reinstall-package torch "
    "--reinstall-package torchvision --torch-backend=rocm7.1 torch==2.12.1 torchvision==0.27.1": (
        "tests/docs/test_other_builds.py",
        "downloads gigabytes; its words are accepted",
    ),
    "sbatch slurm/head.sh --configfile config/paper.yaml": (
        "tests/slurm/test_head.py",
        "needs a SLURM cluster; the tests start one",
    ),
    "nfe-bench status --config config/paper.yaml": (
        "nfe-bench status --config config/quick.yaml",
        "seconds more for the larger suite",
    ),
    "nfe-bench status --config config/paper.yaml --watch 60": (
        "tests/cluster/test_standing.py",
        "would watch for weeks",
    ),
    'squeue --me -o "%i %T %k"': CLUSTER,
    "head -1 logs/paper/train_NAME.log": CLUSTER,
}
# Seconds each: snakemake and dvc import much.
SLOW = (
    "snakemake",
    "dvc",
    "python",
    "nfe-bench train",
    "nfe-bench benchmark",
    "nfe-bench verify",
    "nfe-bench page",
    "nfe-bench compare",
)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and content of each fenced block."""
    for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.M):
        yield match[1], match[2]


def commands(text: str) -> Iterator[str]:
    """Yield the shell commands of a page: those in blocks, and those with arguments in prose."""
    for language, content in blocks(text):
        if language == "sh":
            for line in content.replace("\\\n", " ").splitlines():
                for command in re.sub(r"\s+# .*$", "", line).split("&&"):
                    yield " ".join(command.split())
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for match in re.finditer(rf"`((?:{PROGRAMS})\s[^`]+)`", prose):
        yield " ".join(match[1].split())


DOCUMENTED = sorted({c for page in PAGES for c in commands(page.read_text()) if c})
# Named for what it does, not to be typed as it stands.
NAMED = {
    "nfe-bench data prepare",
    "nfe-bench data card",
    "nfe-bench run",
    "nfe-bench run --workers",
    "nfe-bench status",
    "nfe-bench tune",
    "git clone",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("reader") / "nfe-bench"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return Clone(folder)


def test_every_block_says_what_it_is() -> None:
    known = {"sh", "python", "toml", "yaml", "bibtex", "{toctree}", "{eval-rst}", "{image}"}
    for page in PAGES:
        # An image is named on the line that opens its block.
        found = {language.split(" ")[0] for language, _ in blocks(page.read_text())}
        assert found <= known, page


def test_every_command_is_accounted_for() -> None:
    assert sorted(HOW) == sorted(set(DOCUMENTED) - NAMED)


def executed(command: str) -> str | None:
    how, _ = HOW[command]
    if how == RUN:
        return command
    return None if how == PARSED or how.startswith("tests/") else how


QUICK = [c for c in HOW if (e := executed(c)) and not e.startswith(SLOW)]
LONG = [c for c in HOW if (e := executed(c)) and e.startswith(SLOW)]


def run(clone: Clone, command: str) -> None:
    command = executed(command) or ""
    if command.startswith("nfe-bench") and "|" not in command:
        clone.bench(*shlex.split(command)[1:])
    else:
        clone("bash", "-o", "pipefail", "-c", command)


@pytest.mark.parametrize("command", QUICK)
def test_it_runs(clone: Clone, command: str) -> None:
    run(clone, command)


@pytest.mark.slow
@pytest.mark.parametrize("command", LONG)
def test_it_runs_for_seconds(clone: Clone, command: str) -> None:
    run(clone, command)


@pytest.mark.slow
def test_what_was_run_left_the_results_as_they_were(clone: Clone) -> None:
    assert clone("git", "status", "--porcelain", "results", "figures", "config") == ""


@pytest.mark.parametrize("command", [c for c, (how, _) in HOW.items() if how == PARSED])
def test_its_words_are_known(command: str) -> None:
    with redirect_stderr(io.StringIO()):
        build_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("how", sorted({h for h, _ in HOW.values() if h.startswith("tests/")}))
def test_it_is_tested_elsewhere(how: str) -> None:
    assert (ROOT / how).is_file()
    assert all(reason for h, reason in HOW.values() if h == how)


def test_the_readmes_result_table_is_that_of_the_suite() -> None:
    """Each method, and the single network for longer, cell by cell, and no other row."""
    groups = {"headline", "confirmatory-2", "longer", "rivals", "further", "later", "modes"}
    results = ROOT / "results" / "tiny-imagenet-20"
    with (results / "summary.csv").open(newline="", encoding="utf-8") as file:
        wanted_rows = [r for r in csv.DictReader(file) if groups & set(r["groups"].split("/"))]
    means = {(r["method"], r["epochs"], f"{float(r['nll_mean']):.4f}") for r in wanted_rows}
    found = []
    for section in (results / "summary.md").read_text().split("\n## ")[1:]:
        table = [cells(line) for line in section.splitlines() if line.startswith("|")]
        epochs = re.search(r"wrn-10-2, (\d+) epochs", section)
        for row in table[2:] if epochs else ():
            named = dict(zip(table[0], row, strict=True)) | {"epochs": epochs[1]}
            known = (named["method"], epochs[1], named["NLL"].partition(" ")[0]) in means
            named["method"] += ", compact" * ("granularity alternating" in named["setting"])
            found += [named] if known else []
    assert len(found) == len(wanted_rows)
    shown = [cells(line) for line in (ROOT / "README.md").read_text().splitlines() if "|" in line]
    start = next(i for i, row in enumerate(shown) if row[0] == "method")
    wanted = sorted([named[name] for name in shown[start]] for named in found)
    assert sorted(shown[start + 2 : start + 2 + len(wanted)]) == wanted
    assert len(shown[start + 2 + len(wanted)]) != len(shown[start])


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_readme_names_only_files_that_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert Path(page.parent, target).exists(), f"{page.name}: {target}"
