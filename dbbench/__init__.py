"""dbbench: a reproducibility benchmark of DiffusionBlocks (arXiv 2506.14202)."""

__version__ = "0.1.0"
