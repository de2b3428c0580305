rule train:
    input:
        data=training_data,
        store=ancient("results/tracking.json"),
    output:
        f"{RUN}/model.safetensors",
        f"{RUN}/metrics.jsonl",
        f"{RUN}/run.json",
    log:
        f"{RUN}/train.log",
    benchmark:
        f"{RUN}/train.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if not c.isolated) or "none",
    group:
        SHORT
    conda:
        "../envs/dbbench.yaml"
    threads: training_threads if GPUS else 1
    resources:
        mem_mb=training_memory if GPUS else needed("train", "mem_mb", HEAVY),
        gpu_mem_mb=device_memory("train"),
        runtime=needed("train", "runtime", LONG),
        gpu=training_gpus if GPUS else 0,
    params:
        code=training_code,
        cost=cost_code,
        card=card,
        scale=SCALE,
    shell:
        "DBBENCH_CODE={params.code} dbbench_by {resources.gpu} train --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"


# One process per block: it builds only its own layers, and nothing passes between the blocks of a run.
rule train_block:
    input:
        data=training_data,
        store=ancient("results/tracking.json"),
    output:
        f"{RUN}/block{{block}}/model.safetensors",
        f"{RUN}/block{{block}}/metrics.jsonl",
        f"{RUN}/block{{block}}/run.json",
    log:
        f"{RUN}/block{{block}}/train.log",
    benchmark:
        f"{RUN}/block{{block}}/train.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=needed("train", "mem_mb", HEAVY),
        gpu_mem_mb=device_memory("train"),
        runtime=needed("train", "runtime", LONG),
        gpu=GPUS,
    params:
        code=training_code,
        cost=cost_code,
        card=card,
        scale=SCALE,
    shell:
        "DBBENCH_CODE={params.code} dbbench train --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed}"
        " --block {wildcards.block} 2> {log}"


rule assemble:
    input:
        block_files,
    output:
        f"{RUN}/model.safetensors",
        f"{RUN}/run.json",
    log:
        f"{RUN}/assemble.log",
    benchmark:
        f"{RUN}/assemble.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in RUNS.items() if c.isolated) or "none",
    group:
        SHORT
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=10,
    params:
        scale=SCALE,
    shell:
        "dbbench assemble --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
