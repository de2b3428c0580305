# Profiles take the place of a training and its evaluation: they write the same files.
rule profile_memory:
    output:
        f"{RUN}/run.json",
        f"{RUN}/evaluation.json",
    log:
        f"{RUN}/profile.log",
    benchmark:
        f"{RUN}/profile.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in PROFILES.items() if c.profile.kind == "memory") or "none",
    conda:
        "../envs/dbbench.yaml"
    threads: 1
    resources:
        mem_mb=memory(HEAVY),
        gpu_mem_mb=HEAVY * GPUS,
        runtime=30,
        gpu=GPUS,
    params:
        code=profile_code,
        card=card,
        scale=SCALE,
    # a freed tensor goes back to the system at once here: what is resident should be what is held
    shell:
        "export MALLOC_MMAP_THRESHOLD_=65536 MALLOC_TRIM_THRESHOLD_=65536; "
        "DBBENCH_CODE={params.code} dbbench profile --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"


# What measures time takes all cores, so that it runs alone.
rule profile_time:
    output:
        f"{RUN}/run.json",
        f"{RUN}/evaluation.json",
    log:
        f"{RUN}/profile.log",
    benchmark:
        f"{RUN}/profile.benchmark.tsv"
    wildcard_constraints:
        configuration="|".join(n for n, c in PROFILES.items() if c.profile.kind != "memory") or "none",
    conda:
        "../envs/dbbench.yaml"
    threads: CORES
    resources:
        mem_mb=memory(HEAVY),
        gpu_mem_mb=HEAVY * GPUS,
        runtime=60,
        gpu=GPUS,
    params:
        code=profile_code,
        card=card,
        scale=SCALE,
    shell:
        "DBBENCH_CODE={params.code} dbbench profile --scale {params.scale} --configuration {wildcards.configuration} --seed {wildcards.seed} 2> {log}"
