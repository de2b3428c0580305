"""Diffusion transformer for class-conditional images, end to end and blockwise (paper section 4.2; Peebles and Xie 2023).

The target y is the image (or latent), the input x its class. D = c_skip z + c_out F(c_in z, x, c_noise), where F cuts z into
patches, adds fixed sin-cos positions, runs the layers of one block, each modulated by noise level and class, and puts the
patches together again. No token is added, and no variance is predicted. End to end is one block with all layers.

    dbbench show parameters --experiment table2 --scale paper --method diffusion_blocks

Shapes: N batch, S tokens, d width, c channels, h x w image, p patch height x width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.architectures.dit import DiTConfig
from dbbench.models import Fill, Network
from dbbench.models.layers import (
    Layer,
    Modulation,
    NoiseEmbedding,
    constant,
    modulate,
    modulation_fill,
    normal,
    xavier,
)
from dbbench.noise import precondition
from dbbench.startup import import_timm_layers

if TYPE_CHECKING:
    from dbbench.config import Configuration


def gelu_tanh() -> nn.Module:
    """GELU in DiT's tanh form."""
    return nn.GELU(approximate="tanh")


class DiT(Network):
    """One module for both methods.

    Args:
        config: sizes and switches.
        image: channels, height, width.
        classes: C; index C is the null class of dropped labels.
        layers: indices of the layers to build.
        sigma_data: sd of the preconditioning (D18).
    """

    def __init__(
        self, config: DiTConfig, image: tuple[int, int, int], classes: int, layers: Sequence[int], sigma_data: float = 0.5
    ) -> None:
        super().__init__()
        d, patch = config.width, config.patch
        self.config, self.image, self.classes, self.sigma_data = config, image, classes, sigma_data
        self.grid = (image[1] // patch[0], image[2] // patch[1])
        self.patch_embed = import_timm_layers().PatchEmbed(image[1:], patch, image[0], d)
        self.register_buffer("position", torch.empty(self.grid[0] * self.grid[1], d), persistent=False)
        self.noise_embed = NoiseEmbedding(d, config.noise_embedding_scale)
        self.label_embed = nn.Embedding(classes + 1, d)
        self.layers = nn.ModuleDict(
            {
                str(i): Layer(
                    d,
                    config.heads,
                    config.mlp_width,
                    eps=1e-6,
                    affine=False,
                    condition_width=d,
                    order="silu_linear",
                    activation=gelu_tanh,
                )
                for i in layers
            }
        )
        self.norm = nn.LayerNorm(d, eps=1e-6, elementwise_affine=False)
        self.head_modulation = Modulation(d, d, 2, "silu_linear")
        self.head = nn.Linear(d, patch[0] * patch[1] * image[0])

    def target(self, batch: Batch) -> Tensor:
        """y [N, c, h, w]: the images."""
        return batch.labels

    def freeze_target(self) -> None:
        """Images are not trained: there is nothing to freeze."""

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Tensor:
        """D [N, c, h, w] of one block for classes [N], noisy images z [N, c, h, w] and noise levels sigma [N]."""
        # [N] -> [N, 1, 1, 1], beside images
        c = precondition(sigma.view(-1, 1, 1, 1), self.sigma_data)
        # [N, 1, 1, 1] -> [N] -> [N, d]
        condition = F.silu(self.noise_embed.embed(c.c_noise.flatten()) + self.label_embed(inputs))
        x = self.patch_embed(c.c_in * z) + self.get_buffer("position")
        for i in layers:
            x = self.layers[str(i)](x, condition)
        x = self.head(modulate(self.norm(x), *self.head_modulation(condition)))
        denoised: Tensor = c.c_skip * z + c.c_out * self._image(x).to(z.dtype)
        return denoised

    def _image(self, x_NSp: Tensor) -> Tensor:
        """Patches [N, S, ph pw c] put together to [N, c, h, w]."""
        (rows, columns), (ph, pw), channels = self.grid, self.config.patch, self.image[0]
        # [N, rows columns, ph pw c] -> [N, rows, columns, ph, pw, c] -> [N, c, rows, ph, columns, pw]
        x = x_NSp.view(-1, rows, columns, ph, pw, channels).permute(0, 5, 1, 3, 2, 4)
        # [N, c, rows, ph, columns, pw] -> [N, c, h, w]
        return x.reshape(-1, *self.image)

    def error(self, output: Tensor, batch: Batch) -> Tensor:
        """Squared error of each sample, [N], mean over pixels."""
        # [N, c, h, w] -> [N, c h w] -> [N]
        return (output - batch.labels).square().flatten(1).mean(1)

    def clean(self, output: Tensor, bridge: str) -> Tensor:
        """D is the clean image itself, whatever the bridge."""
        return output

    def without_condition(self, inputs: Tensor, dropped: Tensor) -> Tensor:
        """The null class where `dropped` [N]."""
        return inputs.masked_fill(dropped, self.classes)

    def guide(self, conditional: Tensor, null: Tensor, scale: float) -> Tensor:
        """Guidance on D."""
        return null + scale * (conditional - null)

    def fill_buffers(self) -> None:
        """Fixed sin-cos positions over rows and columns."""
        position = self.get_buffer("position")
        sincos = import_timm_layers().build_sincos2d_pos_embed
        position.copy_(sincos(list(self.grid), self.config.width, device=position.device))

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """DiT's initial values: Xavier-uniform maps, zero modulations and head, so that D = c_skip z at the start (D29)."""
        config = self.config
        if "modulation" in name:
            return modulation_fill(name, config.width, open_gates=config.gates == "one")
        if name.startswith("head.") or parameter.ndim == 1:
            return constant(0.0)
        if name.startswith(("label_embed", "noise_embed")):
            return normal(0.02)
        return xavier(3 if "qkv" in name else 1)


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> DiT:
    """The DiT of a configuration."""
    card, model = CARDS[configuration.data.name], configuration.model
    assert isinstance(model, DiTConfig)
    built = range(configuration.trained_layers) if layers is None else layers
    return DiT(model, card.image, card.classes, built, configuration.denoising.sigma_data)
