def evaluation_code(wildcards):
    return code_hash(*evaluation_entries(RUNS[wildcards.configuration]))


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        data=training_data,
    output:
        f"{RUN}/evaluation.json",
    params:
        code=evaluation_code,
        settings=lambda w: digest(RUNS[w.configuration].evaluation.model_dump(mode="json")),
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if not c.generates) or "none",
    log:
        f"{RUN}/evaluate.log",
    benchmark:
        f"{RUN}/evaluate.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=GPUS,
    shell:
        "dbbench evaluate --scale {SCALE} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
