# One command runs every experiment at one scale and writes tables, figures, verdicts and the report:
#
#     snakemake --cores 8 all                          scale laptop, no GPU, no network
#     snakemake --cores 8 all --config scale=smoke     seconds, checks the code path
#
# Any table or figure is a target of its own, e.g. paper_figures/laptop/figure4.pdf or results/laptop/tables/table1.md.
configfile: "config/config.yaml"


include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        TABLES,
        FIGURES,
        f"results/{SCALE}/verdicts.md",
        f"results/{SCALE}/budget.md",
        f"results/{SCALE}/report.html",
        f"results/{SCALE}/tracking_synced.json",
