rule judge_model:
    input:
        data=lambda w: f"results/data/{JUDGE_MODELS[w.judge_model].data.name}/arrays.safetensors",
        card=lambda w: card_of(JUDGE_MODELS[w.judge_model].data.name),
    output:
        f"results/{SCALE}/judge_models/{{judge_model}}/model.safetensors",
        f"results/{SCALE}/judge_models/{{judge_model}}/metrics.jsonl",
        f"results/{SCALE}/judge_models/{{judge_model}}/run.json",
    log:
        f"results/{SCALE}/judge_models/{{judge_model}}/train.log",
    benchmark:
        f"results/{SCALE}/judge_models/{{judge_model}}/train.benchmark.tsv"
    wildcard_constraints:
        judge_model="|".join(JUDGE_MODELS) or "none",
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=needed("train", "mem_mb", HEAVY),
        gpu_mem_mb=device_memory("train"),
        runtime=needed("train", "runtime", LONG),
        gpu=GPUS,
    params:
        code=lambda w: code_hash(*training_entries(JUDGE_MODELS[w.judge_model])),
        card=lambda w: CARDS[JUDGE_MODELS[w.judge_model].data.name].identity,
        scale=SCALE,
        root_seed=JUDGE_MODEL_SEED,
    shell:
        "DBBENCH_CODE={params.code} dbbench judge-model --scale {params.scale} --configuration {wildcards.judge_model} 2> {log}"


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        data=training_data,
        judge_model=judge_model_weights,
    output:
        f"{RUN}/evaluation.json",
    log:
        f"{RUN}/evaluate.log",
    benchmark:
        f"{RUN}/evaluate.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if not c.generates) or "none",
    group:
        SHORT
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=needed("evaluate", "mem_mb", HEAVY),
        gpu_mem_mb=device_memory("evaluate"),
        runtime=needed("evaluate", "runtime", 240),
        gpu=GPUS,
    params:
        code=evaluation_code,
        scale=SCALE,
        settings=evaluation_settings,
    shell:
        "DBBENCH_CODE={params.code} dbbench evaluate --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
