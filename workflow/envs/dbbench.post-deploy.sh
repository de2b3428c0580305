#!/usr/bin/env bash
# Run by Snakemake in the new environment, from the folder of the project.
set -euo pipefail
python -m pip install -c constraints.txt -e .
