"""The files of a run: their places, models, readers and writers. No other module builds or parses their JSON.

places      where every file of the project lies
records     run.json, of a training, a profile or a feature extractor; the digest that ties weights to their run
rows        evaluation.json: rows and curves
metrics     metrics.jsonl, and how far a run under way is
provenance  commit, versions, device, time
reading     the runs of a plan, for those that publish
strict      how JSON is checked: one line where a file does not fit
"""
