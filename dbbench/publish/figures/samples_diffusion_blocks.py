"""Samples of the networks trained in blocks."""

from __future__ import annotations

from dbbench.publish.pictures import samples_figure

FIGURE = samples_figure(lambda configuration: configuration.blockwise, "the networks trained in blocks")
