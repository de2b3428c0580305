# What generated images need: a feature extractor made once, and an evaluation that keeps its sample set.
IMAGE_RUNS = {name: c for name, c in RUNS.items() if c.generates}
# any configuration of those that share an extractor can make it
EXTRACTORS = {c.features_name: c for c in IMAGE_RUNS.values()}
FEATURES = f"results/{SCALE}/features"


def features_of(wildcards):
    folder = f"{FEATURES}/{RUNS[wildcards.configuration].features_name}"
    return [f"{folder}/features.safetensors", f"{folder}/run.json"]


rule features:
    input:
        lambda w: f"results/data/{EXTRACTORS[w.features].data.name}/arrays.safetensors",
    output:
        f"{FEATURES}/{{features}}/features.safetensors",
        f"{FEATURES}/{{features}}/run.json",
    params:
        code=lambda w: code_hash("dbbench.evaluation.features", "dbbench.data.generation"),
        configuration=lambda w: EXTRACTORS[w.features].name,
    wildcard_constraints:
        features="|".join(EXTRACTORS) or "none",
    log:
        f"{FEATURES}/{{features}}/features.log",
    benchmark:
        f"{FEATURES}/{{features}}/features.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=GPUS,
    shell:
        "dbbench features --scale {SCALE} --configuration {params.configuration} 2> {log}"


rule evaluate_images:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        data=training_data,
        features=features_of,
    output:
        f"{RUN}/evaluation.json",
        f"{RUN}/samples.safetensors",
    params:
        code=evaluation_code,
        settings=lambda w: digest(RUNS[w.configuration].evaluation.model_dump(mode="json")),
    wildcard_constraints:
        configuration="|".join(IMAGE_RUNS) or "none",
    log:
        f"{RUN}/evaluate.log",
    benchmark:
        f"{RUN}/evaluate.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=GPUS,
    shell:
        "dbbench evaluate --scale {SCALE} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
