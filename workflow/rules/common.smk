# Helpers of the rules: what a job reads, and the hash of the code it runs. A job refuses to run another code than it was planned
# with: `DBBENCH_CODE` says which (dbbench/codehash.py).

# Whether jobs are submitted, as on a cluster (`jobs:` of its profile). There a training of seconds and its evaluation are one job with others
# like them (the blocks of an isolated run never are), and so is all that is published. Elsewhere there are no groups: Snakemake
# walks through a whole group whenever one of its inputs is there, which is quadratic in the seeds. Nor does a job ask for more when it is
# tried again: what it may have is all of this machine.
SUBMITTED = workflow.nodes is not None or not workflow.is_main_process

# Trainings and evaluations ask for memory, the device's memory and time by the forecast of `dbbench cost` where they need a GPU: counted
# at most once in planning, when the first job is looked at. A job that a cluster runs asks for nothing any more.
WITH_DEVICE = f"--device {shlex.quote(SUITE.device)} --utilisation {SUITE.utilisation}"
NEEDS = Needs((*PLANNED.split(), *shlex.split(WITH_DEVICE)) if GPUS and workflow.is_main_process else None)
# else, and where nothing is forecast: megabytes of a job that computes with a network, minutes of a training
HEAVY, LONG = (16000, 1440) if GPUS else (4000, 60)
SHORT = "short" if SUBMITTED and not GPUS else None
PUBLISHED = "publish" if SUBMITTED else None


def memory(megabytes):
    """What a job asks for: as much again each time it is tried again, since a cluster may have ended it for that."""
    if not SUBMITTED:
        return megabytes
    return lambda wildcards, attempt: (megabytes(wildcards) if callable(megabytes) else megabytes) * attempt


def needed(job, resource, otherwise):
    """What a job asks for by the forecast; a constant where there is none and no second try: Snakemake calls a function several times a job."""
    return NEEDS.of(job, resource, otherwise) if GPUS or SUBMITTED else otherwise


def device_memory(job):
    """Megabytes of the device: what a profile may count, or choose a partition by."""
    return NEEDS.of(job, "gpu_mem_mb", HEAVY, each_time=False) if GPUS else 0


def once(compute):
    """What `compute` says of a configuration's name, as a function of wildcards: computed once for all its seeds and blocks."""
    known = cache(compute)

    def of_wildcards(wildcards):
        return known(wildcards.configuration)

    of_wildcards.__signature__ = signature(of_wildcards)  # Snakemake asks for it at every call
    return of_wildcards


@once
def training_gpus(name):
    """GPUs of a training: one for each process that shares it, if its batches can be cut so (`dbbench.training.shared.check`)."""
    made = RUNS[name]
    cuts = made.in_parts and made.training.batch_size % SUITE.processes == 0
    return GPUS * (SUITE.processes if cuts else 1)


def training_threads(wildcards):
    return max(1, training_gpus(wildcards))


def training_memory(wildcards, attempt):
    """Megabytes of a training: each process has data and weights of its own."""
    return NEEDS.of("train", "mem_mb", HEAVY)(wildcards, attempt) * training_threads(wildcards)


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
    return CARDS[ALL_RUNS[name].data.name].identity


def fetched(*paths):
    """Files that a command finds by itself: inputs where they lie in a bucket (profiles/kubernetes), which hands over inputs only."""
    return [str(path) for path in paths] if STORE.default_storage_provider else []


def card_of(name):
    return fetched(f"results/data/{name}/card.json")


def logs_of(configuration, seed):
    """What a run leaves for those who publish: its records and curves, no weights."""
    folder = f"results/{SCALE}/runs/{configuration.name}/seed{seed}"
    blocks = [f"{folder}/block{b}" for b in range(len(configuration.parts))] or [folder]
    trained = [] if configuration.profile else blocks
    return [f"{folder}/run.json", f"{folder}/evaluation.json"] + [
        f"{b}/{f}" for b in trained for f in ("run.json", "metrics.jsonl")
    ]


# what publishing reads beside its inputs
BESIDE = []
if STORE.default_storage_provider:
    LOGS = [path for e in ASKED.experiments for _, c, seed in ASKED.runs_of(e) for path in logs_of(c, seed)]
    BESIDE = fetched(*dict.fromkeys(LOGS), *{path for c in RUNS.values() for path in card_of(c.data.name)})


@once
def training_data(name):
    data = RUNS[name].data.name
    return [f"results/data/{data}/arrays.safetensors", *card_of(data)]


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
    return [f"{folder}/features.safetensors", f"{folder}/run.json", *fetched(f"{folder}/model.safetensors")]


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
    if judge_model is None:
        return []
    folder = f"results/{SCALE}/judge_models/{judge_model.name}"
    return [f"{folder}/model.safetensors", *fetched(f"{folder}/run.json")]


def shown(path, caption, **where):
    """An output that `snakemake --report` shows, with the caption of workflow/report/."""
    return report(path, caption=f"../report/{caption}.rst", **where)


def table_labels(kind):
    """What `snakemake --report` calls a table: its title."""
    return lambda wildcards: {"table": PLAN.experiments[wildcards.name].title, "format": kind}


def figure_labels(kind):
    """What `snakemake --report` calls a figure: its experiment and its title."""

    def labels(wildcards):
        of = owner(PLAN, wildcards.name)
        title = f"{called(PLAN.experiments[of].title)}: {get_figure(wildcards.name, of).title}"
        return {"figure": title, "format": kind}

    return labels
