# Beyond clean accuracy: each question's file is made once, from a run's predictions or weights.
# At least so many runs at a time: each takes seconds.
size = max(SUITE.runs_per_process, 12)
for number, first in enumerate(range(0, len(EVALUATED), size)):
    some = EVALUATED[first : first + size]

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
            **demand(some),
        params:
            runs=[RESULTS / "runs" / run.name for run in some],
            ood=("--ood", *fitting(some)) if fitting(some) else "",
            corruptions="--corruptions" if EVALUATE.get("corruptions") else "",
        shell:
            "{TRAIN} evaluate {DATA_ROOT} --run {params.runs:q} {params.ood} {params.corruptions} >> {log:q} 2>&1"
