"""`python -m dbbench.cli`, as the workflow calls it: with the interpreter that runs Snakemake."""

import sys

from dbbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
