# nfe-bench: from a suite's configuration to its tables and figures.
#
#   snakemake --cores all                                     config/quick.yaml, in place
#   snakemake --cores all --configfile config/<suite>.yaml    another suite
#   snakemake --report report.html                            afterwards: one page with all of it
from snakemake.utils import min_version, validate

min_version("9.0")


# Snakemake merges a configfile named here with the command line's: only load the default alone.
if not workflow.configfiles:

    configfile: "config/quick.yaml"


include: "workflow/rules/suite.smk"


validate(config, str(SCHEMA))


include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    # What a time limit cuts is no failure. Only now are the retries of the profile known; without
    # one there are none, and no limit.
    if failures := workflow.execution_settings.retries:
        for name, times in CUTS.items():
            workflow.get_rule(name).restart_times = failures + times


rule all:
    default_target: True
    input:
        asked_for(),
        TABLES,
        FIGURES,
        PAGE,


# Snakemake copies all names of this file for each job that it formats: the time would grow with the
# square of the rules, whose functions it finds without their names.
for pack in (*TRAININGS, *COMBINATIONS, *EVALUATIONS):
    del globals()[f"__{pack.rule}"]
