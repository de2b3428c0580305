# where published numbers are comparable, the data must be the paper's
NO_STAND_IN = " --no-stand-in" if SCALES[SCALE].comparable_to_paper else ""


rule data:
    output:
        "results/data/{name}/arrays.safetensors",
        "results/data/{name}/card.json",
    log:
        "results/data/{name}/prepare.log",
    benchmark:
        "results/data/{name}/prepare.benchmark.tsv"
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(lambda w: data_megabytes(w.name)),
        runtime=lambda w: data_minutes(w.name),
    params:
        code=lambda w: code_hash(*data_entries(w.name)),
        card=lambda w: CARDS[w.name].identity,
    shell:
        f"DBBENCH_CODE={{params.code}} dbbench data {{wildcards.name}}{NO_STAND_IN} 2> {{log}}"


rule tracking_store:
    output:
        "results/tracking.json",
    log:
        "results/tracking.log",
    benchmark:
        "results/tracking.benchmark.tsv"
    localrule: True
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    shell:
        f"dbbench store {STORE_ADDRESS} 2> {{log}}"
