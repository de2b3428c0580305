# One command runs every experiment at one scale and writes tables, figures, verdicts and the report:
#
#     snakemake --cores 8 all                          scale laptop, no GPU, no network
#     snakemake --cores 8 all --config scale=smoke     seconds, checks the code path
#
# Any table or figure is a target of its own, e.g. paper_figures/laptop/figure4.pdf or results/laptop/tables/table1.md.
import os


# a folder that `--directory` names may have a configuration of its own
configfile: "config/config.yaml" if os.path.exists("config/config.yaml") else f"{workflow.basedir}/config/config.yaml"


include: "workflow/Snakefile"


# `snakemake` alone means `snakemake all`; an included file cannot say so
workflow.default_target = "all"
