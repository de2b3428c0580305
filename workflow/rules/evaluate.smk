rule teacher:
    input:
        data=lambda w: f"results/data/{TEACHERS[w.teacher].data.name}/arrays.safetensors",
    output:
        f"results/{SCALE}/teachers/{{teacher}}/model.safetensors",
        f"results/{SCALE}/teachers/{{teacher}}/metrics.jsonl",
        f"results/{SCALE}/teachers/{{teacher}}/run.json",
    log:
        f"results/{SCALE}/teachers/{{teacher}}/train.log",
    benchmark:
        f"results/{SCALE}/teachers/{{teacher}}/train.benchmark.tsv"
    wildcard_constraints:
        teacher="|".join(TEACHERS) or "none",
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=GPUS,
    params:
        code=lambda w: code_hash(*training_entries(TEACHERS[w.teacher])),
        scale=SCALE,
    shell:
        "dbbench teacher --scale {params.scale} --configuration {wildcards.teacher} --seed 0 2> {log}"


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        data=training_data,
        teacher=teacher_weights,
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
