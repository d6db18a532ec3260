# Tables and figures: rebuilt from files in git, no training, no artifacts.
rule tables:
    input:
        metrics(RUNS),
        LATENCIES,
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
        "nfe-bench tables --plan {PLAN} --root {ROOT} > {log} 2>&1"


rule figure:
    input:
        RESULTS / "runs.csv",
    output:
        report(
            ROOT / "figures" / SUITE.name / "{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        ROOT / "figures" / SUITE.name / "{figure}.svg",
        ROOT / "figures" / SUITE.name / "{figure}.pdf",
    log:
        f"logs/{SUITE.name}/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(FIGURE_NAMES),
    localrule: True
    shell:
        "nfe-bench figure {wildcards.figure} --runs {input} --output {ROOT}/figures/{SUITE.name} > {log} 2>&1"
