# make .venv      the locked environment  (LOCK=requirements/cuda12.txt: another lock's, until LOCK names one again)
# make benchmark  the quick suite, trained afresh into reproduction/  (FRESH=1 starts over)
# make test       the core tests
# make test-slow  the tests that take minutes each
# make test-nullgpu  the GPU code's tests, on a GPU that computes nothing (needs a C compiler)
# make test-slurm the tests on a real SLURM cluster, started on this machine (as root, once)
# make test-browser  the results page in a real Chromium, installed where it is missing (as root, once)
# make docs       the documentation as a site, docs/_site/docs/index.html
# make lint       formatter, linter, type checker
# make image      the environment and the code as one Apptainer image, nfe-bench.sif
# make lock       resolve requirements/*.txt again

PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
# The lock of the environment that is there, or else the reference.
INSTALLED := $(or $(shell cat .venv/.lock 2>/dev/null),requirements/lock.txt)
LOCK ?= $(INSTALLED)
IMAGE ?= nfe-bench.sif
WORKFLOW := $(BIN)/snakemake --cores $(CORES)

.PHONY: benchmark test test-slow test-nullgpu test-slurm test-browser docs lint format image lock other-lock clean

# Compiled once here: a process that starts where Python cannot write, or is told not to, would do it
# again, and a job's first second takes three.
.venv: .venv/.complete

.venv/.complete: requirements/bootstrap.txt $(LOCK) pyproject.toml $(if $(filter-out $(INSTALLED),$(LOCK)),other-lock)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"make: {sys.executable} is Python {v[0]}.{v[1]}; 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv "$$(readlink -f .venv)"
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/bootstrap.txt $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q nfe baselines snakemake_executor_plugin_nfe_slurm
	@echo $(LOCK) > .venv/.lock
	@touch $@

benchmark: .venv
	@test -z "$(FRESH)" || rm -rf reproduction
	NFE_ALLOW_LOAD=1 $(WORKFLOW) --quiet rules --config output=reproduction
	$(BIN)/nfe-bench diff results/quick reproduction/results/quick
	@echo "to look at: reproduction/results/quick/index.html"

# Files that take longest come first, as tests/conftest.py has them.
BY_FILE := -n auto --dist loadfile --no-loadscope-reorder --durations=25

test: .venv
	$(BIN)/python -m pytest $(BY_FILE)

test-slow: .venv
	$(BIN)/python -m pytest $(BY_FILE) -m slow

test-nullgpu: .venv
	$(BIN)/python -m pytest $(BY_FILE) tests/nullgpu

# Three clusters side by side: the tests wait more than they compute.
test-slurm: .venv
	tests/slurm/install.sh
	$(BIN)/python -m pytest -n 3 --dist worksteal -v --durations=0 tests/slurm

test-browser: .venv
	tests/browser/install.sh
	$(BIN)/python -m pytest -v tests/browser

docs: .venv
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . docs/_site

lint: .venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy

format: .venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflow

# Of what is committed, without results: a clone, so that runs in the image know their commit.
image:
	rm -rf .image
	git clone --quiet --depth 1 --no-checkout "file://$(CURDIR)" .image/nfe-bench
	git -C .image/nfe-bench sparse-checkout set --no-cone '/*' '!/results/' '!/figures/'
	git -C .image/nfe-bench checkout --quiet
	apptainer build --build-arg lock=$(LOCK) $(IMAGE) requirements/image.def
	rm -rf .image

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
ALL := pyproject.toml --extra workflow --group dev

lock:
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) requirements/lock.in $(ALL) -o requirements/lock.txt
	# Its versions, but for PyTorch and what that brings along.
	cp requirements/lock.txt requirements/cuda12.txt
	$(COMPILE) requirements/cuda12.in $(ALL) -o requirements/cuda12.txt

clean:
	rm -rf reproduction docs/_site .snakemake .pytest_cache .mypy_cache .ruff_cache
