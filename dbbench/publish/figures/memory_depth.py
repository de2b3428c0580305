"""Memory against depth at fixed layers a block: flat for isolated blocks, growing for everything else."""

from __future__ import annotations

from dbbench.publish.profiles import swept_figure

FIGURE = swept_figure(
    "depth",
    "layers",
    "layers L, four per block",
    title="Peak memory of a training step, by depth",
    caption=(
        "Peak memory of one training step against the number of layers, at four layers a block. A process that holds one "
        "block needs the same at every depth; end to end grows with it, and so does the joint process, by the optimiser "
        "state and weights of the blocks that it does not train in the step. Right: end to end divided by each."
    ),
)
