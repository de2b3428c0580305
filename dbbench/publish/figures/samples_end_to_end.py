"""Samples of the networks trained end to end."""

from __future__ import annotations

from dbbench.publish.pictures import samples_figure

FIGURE = samples_figure(lambda configuration: not configuration.blockwise, "the networks trained end to end")
