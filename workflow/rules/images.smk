# What generated images need: a feature extractor, made once, and an evaluation that keeps its sample set.
# A bucket takes every file that the rule names, and Inception leaves no weights.
LEFT_OUT = " && touch {output}" if STORE.default_storage_provider else ""


rule features:
    input:
        lambda w: f"results/data/{EXTRACTORS[w.features].data.name}/arrays.safetensors",
        lambda w: card_of(EXTRACTORS[w.features].data.name),
    output:
        f"{FEATURES}/{{features}}/features.safetensors",
        f"{FEATURES}/{{features}}/run.json",
        fetched(f"{FEATURES}/{{features}}/model.safetensors"),
    log:
        f"{FEATURES}/{{features}}/features.log",
    benchmark:
        f"{FEATURES}/{{features}}/features.benchmark.tsv"
    wildcard_constraints:
        features="|".join(EXTRACTORS) or "none",
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(HEAVY),
        gpu_mem_mb=HEAVY * GPUS,
        runtime=240,
        gpu=GPUS,
    params:
        code=code_hash("dbbench.evaluation.features", "dbbench.data.generation", *RULES),
        card=lambda w: CARDS[EXTRACTORS[w.features].data.name].identity,
        scale=SCALE,
    shell:
        "dbbench features --scale {params.scale} --configuration {wildcards.features} 2> {log}" f"{LEFT_OUT}"


rule evaluate_images:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        data=training_data,
        features=features_of,
    output:
        f"{RUN}/evaluation.json",
        f"{RUN}/samples.safetensors",
    log:
        f"{RUN}/evaluate.log",
    benchmark:
        f"{RUN}/evaluate.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if c.generates) or "none",
    group:
        SHORT
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=needed("evaluate", "mem_mb", HEAVY),
        gpu_mem_mb=device_memory("evaluate"),
        runtime=needed("evaluate", "runtime", LONG),
        gpu=GPUS,
    params:
        code=evaluation_code,
        scale=SCALE,
        settings=evaluation_settings,
    shell:
        "DBBENCH_CODE={params.code} dbbench evaluate --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
