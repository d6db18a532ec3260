"""Whole suites through the profile, equal to the same suites made without SLURM."""

import os
import re

import yaml
from checkout import DISTURBED, ROOT, Checkout, same
from cluster import NODES

from nfe.cluster import packing
from nfe.cluster.site import Site
from nfe.suite.expansion import expand

QUICK = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
FEWER_EPOCHS = 3


def few_of_each(entry):
    """An entry of a group with the first two values of what has several."""
    return {key: v[:2] if isinstance(v, list) else v for key, v in entry.items()}


def test_the_quick_suite_gives_the_same_tables_as_here(tmp_path, cluster):
    """Every kind of job and every figure of the quick suite; of the methods, three.

    A method or a setting is the same to SLURM as any other, and each is trained by other tests.
    """
    groups = QUICK["groups"] | {"headline": QUICK["groups"]["headline"][:2]}
    assert groups["headline"][0]["method"] == ["single", "deep_ensemble"]
    groups = {name: [few_of_each(entry) for entry in group] for name, group in groups.items()}
    fewer = {"epochs": FEWER_EPOCHS, "seeds": 1, "runs_per_process": 6}
    config = {**QUICK, "groups": groups, **fewer}
    here, there = Checkout(tmp_path / "here", config), Checkout(tmp_path / "there", config)
    here.finish(here.start(dict(os.environ), "--cores", "2"), 1200)
    there.finish(there.submit(cluster), 2400)
    same(here, there)
    for figure in ("accuracy_vs_flops", "pai", "grouping_ratio"):
        assert (there.folder / "figures" / "quick" / f"{figure}.svg").exists()
    assert set(there.gpus()) == {"none"}
    assert set(re.findall(r"INFO on (\S+), GPUs", there.logs())) <= set(NODES)


def test_each_job_sees_the_gpus_it_asked_for(tmp_path, cluster):
    groups = {"further": [{"method": "single", "seeds": 2}]}
    config = {**DISTURBED, "gpus": 2, "runs_per_process": 1, "groups": groups}
    checkout = Checkout(tmp_path / "checkout", config)
    checkout.finish(checkout.submit(cluster))
    assert checkout.gpus() == ["0,1", "0,1"]


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, cluster):
    bad = {"method": "single", "recipe": {"lr": 1e30}}
    groups = {"further": [bad, {"method": "nfe", "exits": 2}]}
    config = {**DISTURBED, "runs_per_process": 1, "groups": groups}
    checkout = Checkout(tmp_path / "checkout", config)
    snakemake = checkout.submit(cluster, "--retries", "1")
    assert snakemake.wait(900) == 1
    said = checkout.said()
    assert "Trying to restart job" in said
    log = packing.training(expand(config), Site(), 1)[0].log
    assert f"log: logs/tiny/{log}" in said
    assert "the loss is" in said.split(f"Logfile logs/tiny/{log}")[-1]
    assert [name.split("_")[2] for name in checkout.runs()] == ["nfe"]
