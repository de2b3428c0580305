"""Vision transformer for classification, end to end and blockwise (paper section 4.1).

End to end: a class token and the patch tokens go through all layers; logits are read from the class token.
DiffusionBlocks: the target is the embedding y of the label, the input x the image. The noisy target takes the place of the
class token, only the layers of one block run, modulated by the noise level, and the hidden state h of that token gives
D = c_skip z + c_out h, from which the logits are read.

    dbbench show parameters --experiment table1 --scale paper --method diffusion_blocks

Shapes: N batch, S tokens, d width, C classes, w condition width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.architectures.vit import ViTConfig
from dbbench.models import Fill
from dbbench.models.layers import (
    Layer,
    Modulation,
    NoiseEmbedding,
    constant,
    modulation_fill,
    normal,
    trunc_normal,
    xavier,
)
from dbbench.models.table_targets import Denoised, TableTargets
from dbbench.noise import precondition
from dbbench.startup import import_timm_layers

if TYPE_CHECKING:
    from dbbench.config import Configuration


class ViT(TableTargets):
    """One module for both methods.

    Args:
        config: sizes and switches.
        image: channels, height, width.
        classes: C.
        layers: indices of the layers to build.
        blockwise: with noise conditioning and a label table, or plain.
        sigma_data: sd of the preconditioning.
        target_norm: norm of the targets (D27).
    """

    validates_by_chain = True

    def __init__(
        self,
        config: ViTConfig,
        image: tuple[int, int, int],
        classes: int,
        layers: Sequence[int],
        *,
        blockwise: bool,
        sigma_data: float = 0.5,
        target_norm: float = 1.0,
    ) -> None:
        super().__init__()
        d, channels = config.width, image[0]
        self.config, self.sigma_data, self.target_norm = config, sigma_data, target_norm
        self.patch_embed = import_timm_layers().PatchEmbed(image[1:], config.patch, channels, d)
        #: the public code puts the noisy token where the class token stood; the paper's text keeps both (D2)
        self.keeps_class_token = not blockwise or config.readout == "cls_token"
        first = 1 + (blockwise and self.keeps_class_token)
        self.position = nn.Parameter(torch.empty(1, first + self.patch_embed.num_patches, d))
        self.class_token = nn.Parameter(torch.empty(1, 1, d)) if self.keeps_class_token else None
        self.dropout = nn.Dropout(config.dropout)
        w = (config.condition_width or d // 6) if blockwise else None
        self.layers = nn.ModuleDict(
            {
                str(i): Layer(
                    d,
                    config.heads,
                    config.mlp_width,
                    dropout=config.dropout,
                    condition_width=w,
                    order=config.modulation,
                )
                for i in layers
            }
        )
        self.norm = nn.LayerNorm(d, eps=1e-12)
        self.head = nn.Linear(d, classes)
        if w is not None:
            self.label_embed = nn.Embedding(classes, d)
            self.noise_embed = NoiseEmbedding(w, config.noise_embedding_scale)
            self.head_modulation = Modulation(w, d, 2, config.modulation)

    # --- end to end ---

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, channels, height, width]."""
        assert self.class_token is not None
        # [1, 1, d] -> [N, 1, d], a view for each sample
        x = self._tokens(images, [self.class_token.expand(len(images), -1, -1)])
        for layer in self.layers.values():
            x = layer(x)
        logits: Tensor = self.head(self.norm(x)[:, 0])
        return logits

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of each sample, [N]."""
        return F.cross_entropy(self(batch.inputs), batch.labels, reduction="none")

    def scores(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Top-1 accuracy in percent of each sample (0 or 100) from logits [N, C]."""
        return {"accuracy_percent": 100.0 * (prediction.argmax(-1) == batch.labels)}

    # --- blockwise ---

    @property
    def targets(self) -> nn.Embedding:
        """The label table."""
        return self.label_embed

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Denoised:
        """One block on images [N, channels, height, width], noisy targets z [N, d] and noise levels sigma [N]."""
        c = precondition(sigma[:, None], self.sigma_data)
        condition = self.noise_embed(c.c_noise[:, 0])
        # [N, d] -> [N, 1, d], one token
        noisy = (c.c_in * z).unsqueeze(1)
        if self.class_token is None:
            x = self._tokens(inputs, [noisy])
        else:
            # [1, 1, d] -> [N, 1, d]
            x = self._tokens(inputs, [self.class_token.expand(len(z), -1, -1)], [noisy])
        for i in layers:
            x = self.layers[str(i)](x, condition)
        hidden = self.norm(x[:, 0])
        if self.class_token is None:  # read from the noisy token: the skip path carries z past the layers
            hidden = c.c_out * hidden + c.c_skip * z
        shift, scale = self.head_modulation(condition)
        logits = self.head(hidden * (1 + scale) + shift)
        return Denoised(hidden, logits)

    def error(self, output: Denoised, batch: Batch) -> Tensor:
        """Cross-entropy of each sample, [N]."""
        return F.cross_entropy(output.logits, batch.labels, reduction="none")

    def without_condition(self, inputs: Tensor, dropped: Tensor) -> Tensor:
        """The null input is the zero image, as in the public code."""
        return inputs.masked_fill(dropped[:, None, None, None], 0)

    def guide(self, conditional: Denoised, null: Denoised, scale: float) -> Denoised:
        """Guided logits; the hidden state stays that of the real image."""
        return conditional._replace(logits=null.logits + scale * (conditional.logits - null.logits))

    # --- both ---

    def _tokens(self, images: Tensor, before: list[Tensor], after: list[Tensor] | None = None) -> Tensor:
        x_NSd = torch.cat([*before, self.patch_embed(images), *(after or [])], dim=1)
        out: Tensor = self.dropout(x_NSd + self.position)
        return out

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """Initial values (D26, D29): the public code's, or Xavier-uniform at small widths."""
        config = self.config
        if name == "position":
            return trunc_normal(0.02) if config.initialisation == "trunc_normal" else normal(config.position_std)
        if name == "class_token":
            return trunc_normal(0.02)
        if "modulation" in name:
            return modulation_fill(name, config.width, open_gates=config.gates == "one", order=config.modulation)
        if name.startswith("label_embed"):
            return normal(0.02)
        if name.startswith("head.") and hasattr(self, "label_embed"):
            return constant(0.0)
        if parameter.ndim == 1:
            return constant(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        if config.initialisation == "xavier":
            return xavier(3 if "qkv" in name else 1)
        return normal(0.02) if name.startswith("noise_embed") else trunc_normal(0.02)


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> ViT:
    """The ViT of a configuration."""
    card, model = CARDS[configuration.data.name], configuration.model
    assert isinstance(model, ViTConfig)
    return ViT(
        model,
        card.image,
        card.classes,
        range(configuration.trained_layers) if layers is None else layers,
        blockwise=configuration.denoises,
        sigma_data=configuration.denoising.sigma_data,
        target_norm=configuration.denoising.target_norm,
    )
