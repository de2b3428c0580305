"""The configuration: schema, resolution of an experiment at a scale, and the plan of all runs.

    config/architectures/<architecture>.yaml   the settings of an architecture at each scale
    config/variants.yaml                       named settings of the switches D1-D30
    config/experiments/<table or figure>.yaml  arms, cells, claims and figures of one table or figure

A configuration is resolved as architecture[scale] <- experiment[scale] <- variant <- arm, each laid over the one before.
Its name is readable fields and a hash of the resolved values, so two experiments that ask for the same configuration share
it. No torch here: Snakemake plans the graph with this module.

A method has its configuration class in `config/methods/`, an architecture in `config/architectures/`. They are found there,
and in packages that `dbbench.plugins` knows, and answer what a configuration asks (`MethodSettings`, `ModelSettings`).
"""

from dbbench.config.architectures import ARCHITECTURES, ModelConfig
from dbbench.config.base import Strict, digest, overlay, read_yaml, validated, yaml_files
from dbbench.config.claims import Claim
from dbbench.config.configuration import Configuration
from dbbench.config.evaluations import EvaluationConfig, Reading, settings_of
from dbbench.config.experiments import Arm, Cell, Column, Experiment, Grid, Group, SuiteConfig
from dbbench.config.images import FeaturesConfig, ImagesConfig, ImagesEvaluation
from dbbench.config.method import DenoisingConfig, MethodSettings
from dbbench.config.methods import METHODS, MethodConfig
from dbbench.config.model import ModelSettings
from dbbench.config.plan import Plan, config_root, find_configuration, load_experiment, load_plan, load_suite, resolve
from dbbench.config.profile import ProfileConfig
from dbbench.config.samplers import Sampler, SamplerConfig
from dbbench.config.scales import SCALES, Scale, ScaleName, ScaleNames, scales_that_need_a_gpu
from dbbench.config.settings import (
    DataConfig,
    TrainingConfig,
)
from dbbench.config.texts import JUDGE_MODEL_SEED, JudgeModelConfig, TextConfig, TextEvaluation

__all__ = [
    "ARCHITECTURES",
    "JUDGE_MODEL_SEED",
    "METHODS",
    "SCALES",
    "Arm",
    "Cell",
    "Claim",
    "Column",
    "Configuration",
    "DataConfig",
    "DenoisingConfig",
    "EvaluationConfig",
    "Experiment",
    "FeaturesConfig",
    "Grid",
    "Group",
    "ImagesConfig",
    "ImagesEvaluation",
    "JudgeModelConfig",
    "MethodConfig",
    "MethodSettings",
    "ModelConfig",
    "ModelSettings",
    "Plan",
    "ProfileConfig",
    "Reading",
    "Sampler",
    "SamplerConfig",
    "Scale",
    "ScaleName",
    "ScaleNames",
    "Strict",
    "SuiteConfig",
    "TextConfig",
    "TextEvaluation",
    "TrainingConfig",
    "config_root",
    "digest",
    "find_configuration",
    "load_experiment",
    "load_plan",
    "load_suite",
    "overlay",
    "read_yaml",
    "resolve",
    "scales_that_need_a_gpu",
    "settings_of",
    "validated",
    "yaml_files",
]
