# Training, one rule per process: short runs share one. Outputs are flagged update(), so that
# Snakemake never deletes a finished run because another one of its process is missing.
# How often each one's time limit will cut it: see onstart.
CUTS = {}
for pack in TRAININGS:
    minutes = training_minutes(pack.runs)
    CUTS[pack.rule] = cuts(minutes)

    rule:
        name:
            pack.rule
        output:
            update(run_files(pack.runs)),
        log:
            f"logs/{SUITE.name}/{pack.log}",
        # Where jobs are packed by time: the longest first, since stragglers come last.
        priority: minutes if SITE.target_minutes else 0
        threads: at_once(pack.runs) * max(run.threads for run in pack.runs)
        resources:
            **demand(pack.runs, minutes),
        params:
            runs=[run.name for run in pack.runs],
            workers=beside(pack.runs),
        shell:
            "{TRAIN} run --plan {PLAN:q} --root {ROOT:q} {DATA_ROOT} {STAGE} {params.workers} --run {params.runs} >> {log:q} 2>&1"


# Many in one job: each takes seconds.
for pack in COMBINATIONS:

    rule:
        name:
            pack.rule
        input:
            finished([member for run in pack.runs for member in run.members()]),
        output:
            update(run_files(pack.runs)),
        log:
            f"logs/{SUITE.name}/{pack.log}",
        threads: max(run.threads for run in pack.runs)
        resources:
            **growing(
                estimate.combination_minutes(pack.runs),
                estimate.memory_mb(pack.runs, finished=True),
                off_gpu(),
            ),
        params:
            runs=[run.name for run in pack.runs],
        shell:
            "{COMBINE} run --plan {PLAN:q} --root {ROOT:q} {DATA_ROOT} {STAGE} {TRAINED} --run {params.runs} >> {log:q} 2>&1"


rule latency:
    output:
        update(LATENCIES),
    log:
        f"logs/{SUITE.name}/latency.log",
    # All cores: nothing else may run on the device meanwhile.
    threads: lambda wildcards: workflow.cores or 1
    resources:
        **(
            growing(
                estimate.latency_minutes(TIMED, GPUS),
                estimate.latency_mb(TIMED),
                on_gpu(),
            )
            if TIMED
            else {}
        ),
    params:
        groups=["--group", *config["latency"]] if "latency" in config else "",
    shell:
        "{TRAIN} latency --plan {PLAN:q} --root {ROOT:q} {DATA_ROOT} {STAGE} {params.groups} >> {log:q} 2>&1"
