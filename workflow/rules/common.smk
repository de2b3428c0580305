# Helpers of the rules: what a job reads, and the hash of the code it runs. A job refuses to run another code than it was planned
# with: `DBBENCH_CODE` says which (dbbench/codehash.py).
def once(compute):
    """What `compute` says of a configuration's name, as a function of wildcards: computed once for all its seeds and blocks."""
    known = cache(compute)
    return lambda wildcards: known(wildcards.configuration)


@once
def training_code(name):
    """The hash of the modules a training job runs: it reruns when they change, and only then."""
    return code_hash(*training_entries(RUNS[name]))


@once
def cost_code(name):
    """The hash of what counts the operations of a step, which run.json holds, too."""
    return code_hash("dbbench.profiling.cost", *training_entries(RUNS[name]))


@once
def card(name):
    return CARDS[RUNS[name].data.name].identity


@once
def training_data(name):
    return f"results/data/{RUNS[name].data.name}/arrays.safetensors"


def block_files(wildcards):
    blocks = range(len(RUNS[wildcards.configuration].parts))
    return [f"{RUN}/block{b}/{file}".format(**wildcards) for b in blocks for file in ("model.safetensors", "run.json")]


@once
def evaluation_code(name):
    return code_hash(*evaluation_entries(RUNS[name]))


@once
def evaluation_settings(name):
    return digest(RUNS[name].evaluation.model_dump(mode="json"))


@once
def profile_code(name):
    return code_hash(*profile_entries(PROFILES[name]))


@once
def features_of(name):
    """The feature extractor of a run that generates images, and what it makes of the real ones."""
    folder = f"{FEATURES}/{RUNS[name].features_name}"
    return [f"{folder}/features.safetensors", f"{folder}/run.json"]


def folders(experiment):
    """The run folders of an experiment."""
    return [f"results/{SCALE}/runs/{c.name}/seed{seed}" for _, c, seed in PLAN.runs_of(experiment)]


def evaluations(experiment):
    return [f"{folder}/{file}" for folder in folders(experiment) for file in ("evaluation.json", "run.json")]


# One judge model per corpus measures generated text.
JUDGE_MODELS = {c.judge_model.name: c.judge_model for c in RUNS.values() if c.judge_model is not None}


@once
def judge_model_weights(name):
    judge_model = RUNS[name].judge_model
    return [] if judge_model is None else f"results/{SCALE}/judge_models/{judge_model.name}/model.safetensors"


def shown(path, caption, **where):
    """An output that `snakemake --report` shows, with the caption of workflow/report/."""
    return report(path, caption=f"../report/{caption}.rst", **where)
