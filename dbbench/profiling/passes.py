"""How many forward passes an evaluation takes, for forecasts: read off its settings.

A pass is one sample (of a text one window) through one group of layers. An evaluation from outside that registers no count
of its own (`passes.register`) is taken to pass its test part once.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from dbbench.cards import CARDS
from dbbench.config.evaluations import EvaluationConfig, ar, dit, local_vit, mdm, noprop, recurrent, vit
from dbbench.config.texts import CONTROLS, TextEvaluation
from dbbench.evaluation.dit import NODES

if TYPE_CHECKING:
    from dbbench.config import Configuration


@singledispatch
def passes(settings: EvaluationConfig, configuration: Configuration, samples: int) -> float:
    """Forward passes of a configuration's evaluation over so many samples of the test part."""
    return float(samples)


def _levels(settings: vit.Settings | dit.Settings | ar.Settings | noprop.Settings, configuration: Configuration) -> int:
    return len(settings.levels_within(configuration.denoising.process))


@passes.register(vit.Settings)
def _(settings: vit.Settings, configuration: Configuration, samples: int) -> float:
    """The chain in all its variants, the errors of blocks at levels, and the hand-over between neighbours."""
    if not configuration.denoises:
        return 2.0 * samples
    blocks, few = len(configuration.partition), max(1, settings.draws // 4)
    steps = settings.sampler.steps or blocks
    variants = few * sum(s.steps or steps for s in settings.samplers.values())
    chains = steps * (settings.draws + few + 1) + variants + sum(settings.step_sweep)
    handed_over = 8 * len(vit.neighbours(blocks))
    return float(samples * (chains + blocks * _levels(settings, configuration) + handed_over))


@passes.register(local_vit.Settings)
def _(settings: local_vit.Settings, configuration: Configuration, samples: int) -> float:
    """Every group for the images and the shuffled ones; the goodness of every label takes a pass for each."""
    labels = CARDS[configuration.data.name].classes if configuration.method.name == "forward_forward" else 1
    return float(2 * samples * len(configuration.groups) * labels)


@passes.register(noprop.Settings)
def _(settings: noprop.Settings, configuration: Configuration, samples: int) -> float:
    """The path or chain with its controls; blockwise the errors of blocks at levels."""
    groups = len(configuration.groups)
    found = 2 * settings.draws * (settings.sampler.steps or groups) + sum(settings.step_sweep)
    return float(samples * (found + (groups * _levels(settings, configuration) if configuration.denoises else 0)))


@passes.register(dit.Settings)
def _(settings: dit.Settings, configuration: Configuration, samples: int) -> float:
    """Sample sets of every sampler, with guidance twice, and the losses at levels and at the nodes of integrals."""
    blocks = len(configuration.partition)
    chains = [(s.steps or blocks) * (1 + (s.guidance > 0)) for s in (settings.sampler, *settings.samplers.values())]
    routes = len({reading.variant for reading in settings.integrals(configuration)}) - 1
    return float(settings.images.samples * sum(chains) + samples * (blocks * _levels(settings, configuration) + NODES * routes))


@passes.register(mdm.Settings)
def _(settings: mdm.Settings, configuration: Configuration, samples: int) -> float:
    """The strata of the bound, on a quarter again for each control, and the errors at fixed times; of a lookup the chain."""
    blocks = len(configuration.partition)
    if CARDS[configuration.data.name].hops:
        return float(samples * blocks)
    controls = 1 + (blocks > 1)
    return samples * (settings.strata * (1 + controls / 4) + blocks * len(settings.times))


@passes.register(ar.Settings)
def _(settings: ar.Settings, configuration: Configuration, samples: int) -> float:
    """Given text: the chain with its sweep, block 0 with another text, errors of blocks at levels; generated texts."""
    if not configuration.denoises:
        return samples + _of_texts(settings, configuration, 1.0)
    blocks = len(configuration.partition)
    steps = settings.sampler.steps or blocks
    given = steps + 1 + sum(settings.chain_sweep) + blocks * (_levels(settings, configuration) + 2)
    return samples * given + _of_texts(settings, configuration, steps + blocks)


@passes.register(recurrent.Settings)
def _(settings: recurrent.Settings, configuration: Configuration, samples: int) -> float:
    """Given text by numbers of runs (each a share of a pass), or at levels and at the end of the chain; generated texts."""
    if not configuration.denoises:
        mean = getattr(configuration.model, "mean_recurrence", 1)
        return samples * sum({1, 2, 4, 8, mean}) / mean + _of_texts(settings, configuration, 1.0)
    steps = settings.sampler.steps or 1
    levels = len(settings.levels_within(configuration.denoising.process))
    return samples * (1 + levels + steps) + _of_texts(settings, configuration, steps)


def _of_texts(settings: TextEvaluation, configuration: Configuration, calls: float) -> float:
    """Passes of windows that generated texts are worth, the judge model's reading among them.

    Args:
        calls: passes through a group of layers that a token takes.
    """
    if settings.text is None:
        return 0.0
    texts = settings.text.prompts * settings.text.continuations
    tokens = texts * (settings.text.prompt_length + settings.text.length)
    decoders = len(settings.decoders(configuration))
    return tokens / configuration.data.tokens * (decoders * calls + decoders + len(CONTROLS) + 1)
