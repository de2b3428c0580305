"""Samples of every arm side by side, from the same noise."""

from __future__ import annotations

from dbbench.publish.pictures import samples_figure

FIGURE = samples_figure(lambda configuration: True, "every arm")
