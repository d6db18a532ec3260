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


# One process for the figures and the page that holds them: most of a figure's seconds are the start
# of Python, and a page made beside them would hold the figures of earlier rows, or draw them too.
rule figures:
    input:
        # Behind the tables, what they are made from: see finished().
        tables=ancient(TABLES),
        finished=finished(RUNS),
    output:
        shown=report(
            [path for path in FIGURES if path.suffix == ".png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"suite": SUITE.name},
        ),
        rest=[path for path in FIGURES if path.suffix != ".png"],
        page=report(
            PAGE,
            caption="../report/page.rst",
            category="Page",
            labels={"suite": SUITE.name},
        ),
    log:
        f"logs/{SUITE.name}/figures.log",
    localrule: True
    params:
        results=RESULTS,
    shell:
        "{BENCH} page --figures {params.results:q} > {log:q} 2>&1"
