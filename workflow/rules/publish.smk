# of figures, what the report shows and the store keeps
DRAWINGS = fetched(*(f"paper_figures/{SCALE}/{name}.{kind}" for name in DRAWN for kind in ("svg", "csv")))


rule cells:
    input:
        lambda w: evaluations(w.name),
    output:
        f"results/{SCALE}/cells/{{name}}.csv",
    log:
        f"results/{SCALE}/cells/{{name}}.log",
    benchmark:
        f"results/{SCALE}/cells/{{name}}.benchmark.tsv"
    wildcard_constraints:
        name="|".join(ASKED.experiments),
    group:
        PUBLISHED
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        planned=lambda w: arguments(PLAN, w.name),
        code=code_hash(*publishing_entries("dbbench.publish.cells")),
        experiment=lambda w: digest(PLAN.experiments[w.name].model_dump(mode="json", include={"cells", "arms"})),
    shell:
        "DBBENCH_CODE={params.code} dbbench cells --experiment {wildcards.name} {params.planned} 2> {log}"


rule table:
    input:
        f"results/{SCALE}/cells/{{name}}.csv",
        BESIDE,
    output:
        shown(f"results/{SCALE}/tables/{{name}}.csv", "table", category="Tables", labels=table_labels("csv")),
        shown(f"results/{SCALE}/tables/{{name}}.md", "table", category="Tables", labels=table_labels("md")),
        f"results/{SCALE}/tables/{{name}}.tex",
    log:
        f"results/{SCALE}/tables/{{name}}.log",
    benchmark:
        f"results/{SCALE}/tables/{{name}}.benchmark.tsv"
    wildcard_constraints:
        name="|".join(ASKED.experiments),
    group:
        PUBLISHED
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        planned=lambda w: arguments(PLAN, w.name),
        code=code_hash(*publishing_entries("dbbench.publish.tables")),
        experiment=lambda w: digest(PLAN.experiments[w.name].model_dump(mode="json")),
        title=lambda w: PLAN.experiments[w.name].title,
    shell:
        "DBBENCH_CODE={params.code} dbbench table --experiment {wildcards.name} {params.planned} 2> {log}"


rule figure:
    input:
        lambda w: figure_inputs(alone(PLAN, owner(PLAN, w.name)), w.name),
        BESIDE,
    output:
        shown(f"paper_figures/{SCALE}/{{name}}.pdf", "figure", category="Figures", labels=figure_labels("pdf")),
        shown(f"paper_figures/{SCALE}/{{name}}.png", "figure", category="Figures", labels=figure_labels("png")),
        multiext(f"paper_figures/{SCALE}/{{name}}", ".svg", ".csv"),
    log:
        f"paper_figures/{SCALE}/logs/{{name}}.log",
    benchmark:
        f"paper_figures/{SCALE}/logs/{{name}}.benchmark.tsv"
    wildcard_constraints:
        name="|".join(DRAWN) or "none",
    group:
        PUBLISHED
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        planned=lambda w: arguments(PLAN, owner(PLAN, w.name)),
        code=lambda w: code_hash(*publishing_entries(plugins.figure(w.name, owner(PLAN, w.name)))),
        caption=lambda w: get_figure(w.name, owner(PLAN, w.name)).caption,
    shell:
        "DBBENCH_CODE={params.code} dbbench figure {wildcards.name} {params.planned} 2> {log}"


rule verdicts:
    input:
        ALL_CELLS,
        BESIDE,
    output:
        shown(
            f"results/{SCALE}/verdicts.csv",
            "verdicts",
            category="Findings",
            labels={"what": "Verdict on every claim", "format": "csv"},
        ),
        shown(
            f"results/{SCALE}/verdicts.md",
            "verdicts",
            category="Findings",
            labels={"what": "Verdict on every claim", "format": "md"},
        ),
    log:
        f"results/{SCALE}/verdicts.log",
    benchmark:
        f"results/{SCALE}/verdicts.benchmark.tsv"
    group:
        PUBLISHED
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        planned=PLANNED,
        code=code_hash(*publishing_entries("dbbench.publish.verdicts")),
        claims=digest({n: e.model_dump(mode="json", include={"claims"}) for n, e in PLAN.experiments.items()}),
    shell:
        "DBBENCH_CODE={params.code} dbbench verdicts {params.planned} 2> {log}"


rule budget:
    input:
        ALL_CELLS,
        BESIDE,
    output:
        shown(
            f"results/{SCALE}/budget.csv",
            "budget",
            category="Findings",
            labels={"what": "Quality and cost of every arm", "format": "csv"},
        ),
        shown(
            f"results/{SCALE}/budget.md",
            "budget",
            category="Findings",
            labels={"what": "Quality and cost of every arm", "format": "md"},
        ),
    log:
        f"results/{SCALE}/budget.log",
    benchmark:
        f"results/{SCALE}/budget.benchmark.tsv"
    group:
        PUBLISHED
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        planned=PLANNED,
        code=code_hash(*publishing_entries("dbbench.publish.budget")),
    shell:
        "DBBENCH_CODE={params.code} dbbench budget {params.planned} 2> {log}"


rule report:
    input:
        ALL_TABLES,
        ALL_FIGURES,
        f"results/{SCALE}/verdicts.csv",
        f"results/{SCALE}/budget.csv",
        BESIDE,
        DRAWINGS,
    output:
        shown(
            f"results/{SCALE}/report.html",
            "report",
            category="Findings",
            labels={"what": "The report, all in one page", "format": "html"},
        ),
    log:
        f"results/{SCALE}/report.log",
    benchmark:
        f"results/{SCALE}/report.benchmark.tsv"
    group:
        PUBLISHED
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        planned=PLANNED,
        code=code_hash(*publishing_entries("dbbench.publish.report")),
    shell:
        "DBBENCH_CODE={params.code} dbbench report {params.planned} 2> {log}"


rule sync:
    input:
        ALL_TABLES,
        ALL_FIGURES,
        f"results/{SCALE}/verdicts.csv",
        f"results/{SCALE}/report.html",
        ancient("results/tracking.json"),
        BESIDE,
        DRAWINGS,
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
        mem_mb=memory(2000),
        runtime=sync_minutes(PLAN),
    params:
        planned=PLANNED,
    shell:
        f"dbbench sync {{params.planned}} {STORE_ADDRESS} --json > {{output}}.part 2> {{log}} && mv {{output}}.part {{output}}"
