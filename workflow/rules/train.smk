# Training, one rule per process: short runs share one. Outputs are flagged update(), so that
# Snakemake never deletes a finished run because another one of its process is missing.
# How often each one's time limit will cut it: see onstart.
CUTS = {}
for number, chunk in enumerate(SUITE.chunks()):
    CUTS[f"train_{number:03d}"] = cuts(chunk)

    rule:
        name:
            f"train_{number:03d}"
        output:
            update(run_files(chunk)),
        log:
            f"logs/{SUITE.name}/train_{number:03d}.log",
        threads: at_once(chunk) * max(run.threads for run in chunk)
        resources:
            **demand(chunk, at_once(chunk)),
        params:
            runs=[run.name for run in chunk],
            workers=f"--workers {at_once(chunk)}" if at_once(chunk) > 1 else "",
        shell:
            "{TRAIN} run --plan {PLAN:q} --root {ROOT:q} {DATA_ROOT} {STAGE} {params.workers} --run {params.runs} >> {log:q} 2>&1"


# Many in one job: each takes seconds.
for number, some in enumerate(packs(SUITE.combined())):

    rule:
        name:
            f"combine_{number:03d}"
        input:
            finished([member for run in some for member in run.members()]),
        output:
            update(run_files(some)),
        log:
            f"logs/{SUITE.name}/combine_{number:03d}.log",
        threads: max(run.threads for run in some)
        resources:
            **growing(
                estimate.combination_minutes(some),
                estimate.memory_mb(some, finished=True),
                off_gpu(),
            ),
        params:
            runs=[run.name for run in some],
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
        **demand(RUNS[:1]),
    params:
        groups=["--group", *config["latency"]] if "latency" in config else "",
    shell:
        "{TRAIN} latency --plan {PLAN:q} --root {ROOT:q} {DATA_ROOT} {STAGE} {params.groups} >> {log:q} 2>&1"
