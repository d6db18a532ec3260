# Beyond clean accuracy: each question's file is made once, from a run's predictions or weights.
for pack in EVALUATIONS:

    rule:
        name:
            pack.rule
        input:
            finished(pack.runs),
            finished([member for run in pack.runs for member in run.members()]),
        output:
            update(evaluations(pack.runs)),
        log:
            f"logs/{SUITE.name}/{pack.log}",
        threads: max(run.threads for run in pack.runs)
        resources:
            **growing(
                estimate.evaluation_minutes(
                    pack.runs,
                    {run.name: fitting([run]) for run in pack.runs},
                    EVALUATE.get("corruptions", False),
                    GPUS,
                ),
                estimate.memory_mb(pack.runs, finished=True),
                on_gpu(),
            ),
        params:
            runs=[RESULTS / "runs" / run.name for run in pack.runs],
            ood=("--ood", *fitting(pack.runs)) if fitting(pack.runs) else "",
            corruptions="--corruptions" if EVALUATE.get("corruptions") else "",
        shell:
            "{TRAIN} evaluate {DATA_ROOT} --run {params.runs:q} {params.ood} {params.corruptions} >> {log:q} 2>&1"
