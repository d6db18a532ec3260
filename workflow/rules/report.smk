# Tables and figures: rebuilt from files in git, no training, no artifacts.
rule tables:
    input:
        finished(RUNS),
        ancient(LATENCIES),
        ancient(evaluations(EVALUATED)),
    output:
        csv=report(
            TABLES[:3],
            caption="../report/tables.rst",
            category="Tables",
            labels={"suite": SUITE.name},
        ),
        rest=TABLES[3:],
    log:
        f"logs/{SUITE.name}/tables.log",
    localrule: True
    shell:
        "{BENCH} tables --plan {PLAN:q} --root {ROOT:q} > {log:q} 2>&1"


# One process for all of them: most of a figure's seconds are the start of Python.
rule figures:
    input:
        # Behind the table, what the table is made from: see finished().
        runs=ancient(RESULTS / "runs.csv"),
        plan=ancient(PLANNED),
        finished=finished(RUNS),
    output:
        shown=report(
            [path for path in FIGURES if path.suffix == ".png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"suite": SUITE.name},
        ),
        rest=[path for path in FIGURES if path.suffix != ".png"],
    log:
        f"logs/{SUITE.name}/figures.log",
    localrule: True
    params:
        folder=FIGURE_FOLDER,
        names=FIGURE_NAMES,
    shell:
        "{BENCH} figure {params.names} --runs {input.runs:q} --output {params.folder:q} > {log:q} 2>&1"


rule page:
    input:
        tables=ancient(TABLES),
        finished=finished(RUNS),
    output:
        report(
            PAGE,
            caption="../report/page.rst",
            category="Page",
            labels={"suite": SUITE.name},
        ),
    log:
        f"logs/{SUITE.name}/page.log",
    localrule: True
    params:
        results=RESULTS,
    shell:
        "{BENCH} page {params.results:q} > {log:q} 2>&1"
