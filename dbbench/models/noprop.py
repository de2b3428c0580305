"""NoProp's network (arXiv 2503.24322, figure 6), for backpropagation, NoProp-DT, -CT, -FM and DiffusionBlocks.

A block sees the whole image x and a noisy label embedding z: convolutional features of x, features of z and, where the method
has continuous noise, of the time are joined, and two hidden layers lead to logits over the classes. The block predicts the
clean embedding as an expectation, u^ = softmax(logits) W; under flow matching it gives a velocity instead. No block feeds
features to another: z is all that goes on.

Backpropagation goes through the same path: z_t = a_t u^_t(z_{t-1}, x) + b_t z_{t-1} + sqrt(c_t) eps from z_0 = eps, then
p_out(y | z_T). DiffusionBlocks takes the block of continuous time with c_noise in place of t and c_in z in place of z (D20);
D = u^ and its logits are the prediction. There is no skip of z past the block, since u^ lies among the embeddings already.

    dbbench show parameters --experiment table6 --scale paper --method noprop_dt

Shapes: N batch, d width of an embedding, C classes, f features, T blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.architectures.noprop import NoPropConfig
from dbbench.config.noprop import NoPropSettings
from dbbench.label_noise import CosineSchedule
from dbbench.models import Fill, TokenCounts
from dbbench.models.label_denoiser import LabelDenoiser
from dbbench.models.layers import constant, sinusoid
from dbbench.models.table_targets import Denoised
from dbbench.noise import precondition
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: the standard normal draw of a step, [N, d]; step 0 starts the path
Noise = Callable[[int], Tensor]


@runtime_checkable
class Prototypes(Protocol):
    """Training data that have an image for each class."""

    def prototypes(self) -> Tensor:
        """[C, pixels]."""
        ...


def dense(inputs: int, outputs: int) -> nn.Sequential:
    """A fully connected layer with batch norm and ReLU."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())


class Convolutions(nn.Module):
    """Features [N, f] of images: 3 x 3 convolutions, ReLU, max pooling, dropout before the next, then a dense layer."""

    def __init__(self, image: tuple[int, int, int], channels: Sequence[int], features: int, dropout: float) -> None:
        super().__init__()
        planes, height, width = image
        stages: list[nn.Module] = []
        for out in channels:
            stages += [nn.Dropout(dropout)] if stages else []
            # a size of one stays one, so that sequences pass
            stages += [nn.Conv2d(planes, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            planes, height, width = out, -(-height // 2), -(-width // 2)
        self.stages = nn.Sequential(*stages)
        self.dense = dense(planes * height * width, features)

    def forward(self, images: Tensor) -> Tensor:
        """[N, channels, height, width] to [N, f]."""
        # [N, channels, height / 2^k, width / 2^k] -> [N, all of them]
        out: Tensor = self.dense(self.stages(images).flatten(1))
        return out


class LabelFeatures(nn.Module):
    """Features [N, f] of a noisy label vector [N, d]: two dense layers, the second with a skip connection."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.first, self.second = dense(width, features), dense(features, features)

    def forward(self, z: Tensor) -> Tensor:
        """[N, d] to [N, f]."""
        hidden = self.first(z)
        out: Tensor = hidden + self.second(hidden)
        return out


class Block(nn.Module):
    """u^(z, x) or u^(z, x, t): one block, from image, noisy label and perhaps time to `outputs` numbers.

    A label embedding of the size of the image goes through convolutions of its own, as an image (figure 6's caption).
    """

    def __init__(self, config: NoPropConfig, image: tuple[int, int, int], outputs: int, *, timed: bool) -> None:
        super().__init__()
        f, settings = config.features, (config.channels, config.features, config.dropout)
        self.image, self.as_image = image, config.embedding == "prototype"
        self.of_image = Convolutions(image, *settings)
        self.of_label = Convolutions(image, *settings) if self.as_image else LabelFeatures(config.width, f)
        self.of_time = nn.Sequential(nn.Linear(config.time_features, f), nn.ReLU()) if timed else None
        self.time_features, self.time_scale = config.time_features, config.time_scale
        self.join = nn.Sequential(dense((3 if timed else 2) * f, f), dense(f, f // 2))
        self.out = nn.Linear(f // 2, outputs)

    def forward(self, images: Tensor, z: Tensor, time: Tensor | None = None) -> Tensor:
        """[N, outputs] of images [N, channels, height, width], z [N, d] and times [N]."""
        # [N, pixels] -> [N, channels, height, width]
        label = z.view(-1, *self.image) if self.as_image else z
        parts = [self.of_image(images), self.of_label(label)]
        if self.of_time is not None:
            assert time is not None
            parts.append(self.of_time(sinusoid(self.time_scale * time, self.time_features)))
        out: Tensor = self.out(self.join(torch.cat(parts, dim=1)))
        return out


class LearnedSNR(nn.Module):
    """The law of noise of NoProp-CT (its appendix B): SNR(t) = exp(-gamma(t)), which never falls.

    gamma(t) = gamma_0 + (gamma_1 - gamma_0) (1 - g(t)), where g rises from g(0) = 0 to g(1) = 1:
    g(t) = (h(t) - h(0)) / (h(1) - h(0)) with h(t) = w t + sum_j v_j sigmoid(u_j t + c_j), of positive w, v_j and u_j. gamma_1,
    that of noise, stays above gamma_0, that of the clean end.
    """

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.empty(1))
        self.inner, self.outer, self.shift = (nn.Parameter(torch.empty(hidden)) for _ in range(3))
        self.clean, self.span = nn.Parameter(torch.empty(1)), nn.Parameter(torch.empty(1))

    def _height(self, t: Tensor) -> Tensor:
        inner, outer = F.softplus(self.inner), F.softplus(self.outer) / len(self.outer)
        # [N] -> [N, 1] times [hidden] -> [N, hidden] -> [N]
        steps = outer * torch.sigmoid(inner * t[:, None] + self.shift)
        return F.softplus(self.linear) * t + steps.sum(1)

    def _rise(self) -> Tensor:
        ends = self._height(torch.tensor([0.0, 1.0], dtype=self.linear.dtype, device=self.linear.device))
        return ends[1] - ends[0]

    def gamma(self, t: Tensor) -> Tensor:
        """gamma at times [N], [N]."""
        share = (self._height(t) - self._height(torch.zeros_like(t))) / self._rise()
        return self.clean + F.softplus(self.span) * (1 - share)

    def slope(self, t: Tensor) -> Tensor:
        """d gamma / dt at times [N], [N]: negative, in closed form."""
        inner, outer = F.softplus(self.inner), F.softplus(self.outer) / len(self.outer)
        s = torch.sigmoid(inner * t[:, None] + self.shift)
        height_slope = F.softplus(self.linear) + (outer * inner * s * (1 - s)).sum(1)
        return -F.softplus(self.span) * height_slope / self._rise()

    @staticmethod
    def initial(name: str) -> Fill:
        """Nearly linear from gamma(0) = 7 to gamma(1) = -7 (ours)."""
        values = {"linear": 0.0, "outer": 0.0, "clean": -7.0, "span": 14.0}
        return constant(values[name]) if name in values else lambda t, g: t.normal_(generator=g)


class NoProp(LabelDenoiser):
    """The blocks, the label table, and what reads classes from the last z.

    Args:
        config: sizes.
        image: channels, height, width.
        classes: C.
        layers: indices of the blocks to build.
        schedule: of the T blocks of the whole network; a control with fewer blocks ends at the same noise.
        method: of NoProp's, if it is one; else None.
        denoises: with c_noise as time, for DiffusionBlocks.
    """

    def __init__(
        self,
        config: NoPropConfig,
        image: tuple[int, int, int],
        classes: int,
        layers: Sequence[int],
        *,
        schedule: CosineSchedule,
        method: NoPropSettings | None = None,
        denoises: bool = False,
        sigma_data: float = 0.5,
        target_norm: float = 1.0,
    ) -> None:
        super().__init__()
        self.config, self.schedule = config, schedule
        self.sigma_data, self.target_norm, self.buffers_loaded = sigma_data, target_norm, False
        velocity, timed = method is not None and method.velocity, denoises or (method is not None and method.timed)
        outputs = config.width if velocity else classes
        self.layers = nn.ModuleDict({str(i): Block(config, image, outputs, timed=timed) for i in layers})
        self.label_embed = nn.Embedding(classes, config.width)
        self.label_embed.weight.requires_grad_(config.embedding != "one_hot")
        if not denoises:  # there the logits of the last block are the prediction
            self.head = nn.Linear(config.width, classes)
        if method is not None and method.learns_noise:
            self.law = LearnedSNR()
        self.register_load_state_dict_post_hook(_keep_buffers)  # type: ignore[no-untyped-call]  # torch has none

    # --- NoProp's methods ---

    @property
    def targets(self) -> nn.Embedding:
        """The label table W."""
        return self.label_embed

    def predict(self, inputs: Tensor, z: Tensor, layer: int, time: Tensor | None = None) -> Denoised:
        """u^ = softmax(logits) W (NoProp, section 3)."""
        logits = self.layers[str(layer)](inputs, z, time)
        return Denoised(logits.softmax(-1) @ self.targets.weight, logits)

    def velocity(self, inputs: Tensor, z: Tensor, time: Tensor) -> Tensor:
        """v(z, x, t), unconstrained (NoProp, section 3)."""
        out: Tensor = self.layers["0"](inputs, z, time)
        return out

    def classify(self, z: Tensor) -> Tensor:
        """p_out(y | z): a linear layer (NoProp, section 3)."""
        logits: Tensor = self.head(z)
        return logits

    # --- end to end, and NoProp-DT's inference ---

    def path(self, inputs: Tensor, noise: Noise) -> Tensor:
        """z_T [N, d]: z_0 = eps_0 and z_t = a_t u^_t(z_{t-1}, x) + b_t z_{t-1} + sqrt(c_t) eps_t (NoProp, eq. 3)."""
        z = noise(0)
        for t in range(1, len(self.layers) + 1):
            a, b, c = self.schedule.posterior(t)
            z = a * self.predict(inputs, z, t - 1).hidden + b * z + math.sqrt(c) * noise(t)
        return z

    def forward(self, inputs: Tensor, noise: Noise | None = None) -> Tensor:
        """Logits [N, C] of images at the end of the path.

        Without `noise`, training draws from the global generators, which the training loop sets anew for each step; evaluation
        takes the same draws each time.
        """
        g = None if self.training else generator(0, "validation", "path", device=inputs.device)
        shape = (len(inputs), self.config.width)

        def drawn(_: int) -> Tensor:
            return torch.randn(shape, generator=g, device=inputs.device, dtype=inputs.dtype)

        return self.classify(self.path(inputs, noise or drawn))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of each sample at the end of the path, [N]."""
        return F.cross_entropy(self(batch.inputs), batch.labels, reduction="none")

    def scores(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Top-1 accuracy in percent of each sample (0 or 100) from logits [N, C]."""
        return {"accuracy_percent": 100.0 * (prediction.argmax(-1) == batch.labels)}

    # --- DiffusionBlocks ---

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Denoised:
        """The one block of `layers` on images, noisy targets z [N, d] and noise levels sigma [N]."""
        (layer,) = layers
        c = precondition(sigma[:, None], self.sigma_data)
        logits = self.layers[str(layer)](inputs, c.c_in * z, c.c_noise[:, 0])
        return Denoised(logits.softmax(-1) @ self.table(), logits)

    def error(self, output: Denoised, batch: Batch) -> Tensor:
        """Cross-entropy of each sample, [N]."""
        return F.cross_entropy(output.logits, batch.labels, reduction="none")

    def without_condition(self, inputs: Tensor, dropped: Tensor) -> Tensor:
        """The null input is the zero image, as that of the vision transformer."""
        return inputs.masked_fill(dropped[:, None, None, None], 0)

    def guide(self, conditional: Denoised, null: Denoised, scale: float) -> Denoised:
        """Guided logits; D stays that of the real image."""
        return conditional._replace(logits=null.logits + scale * (conditional.logits - null.logits))

    # --- initial values ---

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """He's values (ours: the paper states none); one-hot labels are the unit vectors, learned ones start orthogonal."""
        if name.startswith("label_embed"):
            return (lambda t, g: nn.init.eye_(t)) if self.config.embedding == "one_hot" else orthogonal
        if name.startswith("law."):
            return LearnedSNR.initial(name.removeprefix("law."))
        if parameter.ndim == 1:
            # of batch norms, the second of a dense layer, the weights are vectors too
            return constant(1.0 if name.endswith("weight") else 0.0)
        return lambda t, g: nn.init.kaiming_normal_(t, nonlinearity="relu", generator=g)

    def from_data(self, data: TokenCounts) -> None:
        """Prototypes start as the images that stand for their classes."""
        if isinstance(data, Prototypes):
            with torch.no_grad():
                self.label_embed.weight.copy_(data.prototypes())

    def fill_buffers(self) -> None:
        """The running means of the batch norms start at 0, their variances at 1, unless they were loaded."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d) and not self.buffers_loaded:
                module.reset_running_stats()


def _keep_buffers(network: nn.Module, _: object) -> None:
    """Running means that came from a file stay."""
    assert isinstance(network, NoProp)
    network.buffers_loaded = True


def orthogonal(t: Tensor, g: torch.Generator) -> None:
    """Orthogonal rows where there are as many dimensions, else orthogonal columns."""
    nn.init.orthogonal_(t, generator=g)


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> NoProp:
    """NoProp's network of a configuration."""
    card, model, method = CARDS[configuration.data.name], configuration.model, configuration.method
    assert isinstance(model, NoPropConfig)
    return NoProp(
        model,
        card.image,
        card.classes,
        range(configuration.trained_layers) if layers is None else layers,
        schedule=CosineSchedule(configuration.trained_layers, model.layers),
        method=method if isinstance(method, NoPropSettings) else None,
        denoises=configuration.denoises,
        sigma_data=configuration.denoising.sigma_data,
        target_norm=configuration.denoising.target_norm,
    )
