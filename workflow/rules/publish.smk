def folders(experiment):
    """The run folders of an experiment."""
    return [f"results/{SCALE}/runs/{c.name}/seed{seed}" for _, c, seed in PLAN.runs_of(experiment)]


def evaluations(experiment):
    return [f"{folder}/{file}" for folder in folders(experiment) for file in ("evaluation.json", "run.json")]


def experiments_of(figure):
    return [name for name, e in PLAN.experiments.items() if figure in e.figures]


rule cells:
    input:
        lambda w: evaluations(w.name),
    output:
        f"results/{SCALE}/cells/{{name}}.csv",
    params:
        code=code_hash("dbbench.publish.cells"),
        experiment=lambda w: digest(PLAN.experiments[w.name].model_dump(mode="json", include={"cells", "arms"})),
    log:
        f"results/{SCALE}/cells/{{name}}.log",
    benchmark:
        f"results/{SCALE}/cells/{{name}}.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "dbbench cells --experiment {wildcards.name} {PLANNED} 2> {log}"


rule table:
    input:
        f"results/{SCALE}/cells/{{name}}.csv",
    output:
        multiext(f"results/{SCALE}/tables/{{name}}", ".csv", ".md", ".tex"),
    params:
        code=code_hash("dbbench.publish.tables"),
        experiment=lambda w: digest(PLAN.experiments[w.name].model_dump(mode="json")),
    log:
        f"results/{SCALE}/tables/{{name}}.log",
    benchmark:
        f"results/{SCALE}/tables/{{name}}.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "dbbench table --experiment {wildcards.name} {PLANNED} 2> {log}"


rule figure:
    input:
        lambda w: [file for e in experiments_of(w.name) for file in evaluations(e)],
        lambda w: [f"results/{SCALE}/cells/{e}.csv" for e in experiments_of(w.name) if PLAN.experiments[e].cells],
    output:
        multiext(f"paper_figures/{SCALE}/{{name}}", ".pdf", ".png", ".csv"),
    params:
        code=lambda w: code_hash(f"dbbench.publish.figures.{w.name}", "dbbench.publish.figures"),
    wildcard_constraints:
        name="|".join(name for e in PLAN.experiments.values() for name in e.figures) or "none",
    log:
        f"paper_figures/{SCALE}/logs/{{name}}.log",
    benchmark:
        f"paper_figures/{SCALE}/logs/{{name}}.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "dbbench figure {wildcards.name} {PLANNED} 2> {log}"


rule verdicts:
    input:
        [f"results/{SCALE}/cells/{name}.csv" for name, e in PLAN.experiments.items() if e.cells],
    output:
        multiext(f"results/{SCALE}/verdicts", ".csv", ".md"),
    params:
        code=code_hash("dbbench.publish.verdicts"),
        claims=digest({n: e.model_dump(mode="json", include={"claims"}) for n, e in PLAN.experiments.items()}),
    log:
        f"results/{SCALE}/verdicts.log",
    benchmark:
        f"results/{SCALE}/verdicts.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "dbbench verdicts {PLANNED} 2> {log}"


rule report:
    input:
        TABLES,
        FIGURES,
        f"results/{SCALE}/verdicts.csv",
    output:
        f"results/{SCALE}/report.html",
    params:
        code=code_hash("dbbench.publish.report"),
    log:
        f"results/{SCALE}/report.log",
    benchmark:
        f"results/{SCALE}/report.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "dbbench report {PLANNED} 2> {log}"


rule sync:
    input:
        TABLES,
        FIGURES,
        f"results/{SCALE}/verdicts.csv",
        ancient("results/tracking.json"),
    output:
        f"results/{SCALE}/tracking_synced.json",
    log:
        f"results/{SCALE}/tracking_synced.log",
    benchmark:
        f"results/{SCALE}/tracking_synced.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "dbbench sync {PLANNED} --json > {output}.part 2> {log} && mv {output}.part {output}"
