def training_code(wildcards):
    """The hash of the modules a training job runs, and the card of its data: it reruns when they change, and only then."""
    c = RUNS[wildcards.configuration]
    return code_hash(*training_entries(c)) + digest(asdict(CARDS[c.data.name]))[:8]


def training_data(wildcards):
    return f"results/data/{RUNS[wildcards.configuration].data.name}/arrays.safetensors"


def block_files(wildcards):
    blocks = range(RUNS[wildcards.configuration].method.blocks)
    return [f"{RUN}/block{b}/{file}".format(**wildcards) for b in blocks for file in ("model.safetensors", "run.json")]


rule train:
    input:
        data=training_data,
        store=ancient("results/tracking.json"),
    output:
        f"{RUN}/model.safetensors",
        f"{RUN}/metrics.jsonl",
        f"{RUN}/run.json",
    params:
        code=training_code,
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if not c.isolated) or "none",
    log:
        f"{RUN}/train.log",
    benchmark:
        f"{RUN}/train.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=GPUS,
    shell:
        "dbbench train --scale {SCALE} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"


# One process per block: it builds only its own layers, and nothing passes between the blocks of a run.
rule train_block:
    input:
        data=training_data,
        store=ancient("results/tracking.json"),
    output:
        f"{RUN}/block{{block}}/model.safetensors",
        f"{RUN}/block{{block}}/metrics.jsonl",
        f"{RUN}/block{{block}}/run.json",
    params:
        code=training_code,
    log:
        f"{RUN}/block{{block}}/train.log",
    benchmark:
        f"{RUN}/block{{block}}/train.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=GPUS,
    shell:
        "dbbench train --scale {SCALE} --configuration {wildcards.configuration} --seed {wildcards.seed}"
        " --block {wildcards.block} 2> {log}"


rule assemble:
    input:
        block_files,
    output:
        f"{RUN}/model.safetensors",
        f"{RUN}/run.json",
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if c.isolated) or "none",
    log:
        f"{RUN}/assemble.log",
    benchmark:
        f"{RUN}/assemble.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    shell:
        "dbbench assemble --scale {SCALE} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
