rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        data=training_data,
    output:
        f"{RUN}/evaluation.json",
    log:
        f"{RUN}/evaluate.log",
    benchmark:
        f"{RUN}/evaluate.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if not c.generates) or "none",
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=GPUS,
    params:
        code=evaluation_code,
        scale=SCALE,
        settings=lambda w: digest(RUNS[w.configuration].evaluation.model_dump(mode="json")),
    shell:
        "dbbench evaluate --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
