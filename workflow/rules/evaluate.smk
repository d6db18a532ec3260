# Beyond clean accuracy: each question's file is made once, from a run's predictions or weights.
for number, some in enumerate(packs(EVALUATED)):

    rule:
        name:
            f"evaluate_{number:03d}"
        input:
            finished(some),
            finished([member for run in some for member in run.members()]),
        output:
            update(evaluations(some)),
        log:
            f"logs/{SUITE.name}/evaluate_{number:03d}.log",
        threads: max(run.threads for run in some)
        resources:
            **growing(
                estimate.evaluation_minutes(
                    some,
                    {run.name: fitting([run]) for run in some},
                    EVALUATE.get("corruptions", False),
                    GPUS,
                ),
                estimate.memory_mb(some, finished=True),
                on_gpu(),
            ),
        params:
            runs=[RESULTS / "runs" / run.name for run in some],
            ood=("--ood", *fitting(some)) if fitting(some) else "",
            corruptions="--corruptions" if EVALUATE.get("corruptions") else "",
        shell:
            "{TRAIN} evaluate {DATA_ROOT} --run {params.runs:q} {params.ood} {params.corruptions} >> {log:q} 2>&1"
