# SPDX-License-Identifier: Apache-2.0
"""Elastic weight consolidation: learn something new where that costs little of what is known.

    fisher_i = mean over utterances n of (d -log p(y_n | x_n) / d weight_i) ** 2
    penalty  = strength / 2 * sum_i fisher_i / mean(fisher) * (weight_i - anchor_i) ** 2

The Fisher information says how much the old speech minds a change of each weight. It is the mean of
the squares of each utterance's own gradient; squaring the gradient of a batch instead would make it
smaller about as often as there are utterances in a batch. Divided by its mean it has no unit, so
one strength means the same for every model, and all weights alike (`Fisher.ones`) are L2-SP.
`strength` is lambda times the mean of the Fisher information, in the paper's symbols.

Source: Kirkpatrick et al. 2017, arXiv:1612.00796, equation 3; L2-SP: Li et al. 2018,
arXiv:1802.01483. Departs from the paper: y_n are the references, not samples drawn from the model
(the empirical Fisher information), and it is divided by its mean.

Legend: B utterances.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from evenear.atomic import write_bytes
from evenear.errors import CheckpointError, ConfigError

__all__ = ["EwcPenalty", "Fisher", "diagonal_fisher"]

_NUM_UTTERANCES, _NUM_SKIPPED, _AGREEMENT = "num_utterances", "num_skipped", "agreement"
_FEW = 50
"""Fewer utterances than this say little about a million weights."""
_STABLE = 0.5
"""Least agreement of two halves of the utterances that is not worth a warning."""


@dataclass(frozen=True)
class Fisher:
    """The diagonal of the Fisher information: a number for each weight, by parameter name."""

    values: Mapping[str, Tensor]
    num_utterances: int = 0
    num_skipped: int = 0
    """Utterances without a finite gradient, left out."""
    agreement: float | None = None
    """Cosine between the roots of what even and odd utterances gave: 1 if either half would do."""

    @classmethod
    def ones(cls, model: nn.Module) -> "Fisher":
        """All weights matter alike: the penalty becomes that of L2-SP."""
        return cls({name: torch.ones_like(p) for name, p in _trained(model)})

    @property
    def mean(self) -> float:
        """Mean over all weights."""
        total = sum(float(value.double().sum()) for value in self.values.values())
        return total / max(1, sum(value.numel() for value in self.values.values()))

    def report(self) -> dict[str, Any]:
        """What tells a Fisher information that can be used from one that cannot.

        Returns:
            Counts, the mean, the largest, how many weights are 0, how few hold half of the total,
            the mean of each part of the model, and `warnings` in words.
        """
        flat = torch.cat([value.flatten().double() for value in self.values.values()])
        total = float(flat.sum())
        ordered = flat.sort(descending=True).values.cumsum(0)
        half = int((ordered < total / 2).sum()) + 1 if total > 0 else 0
        parts: dict[str, list[Tensor]] = {}
        for name, value in self.values.items():
            parts.setdefault(name.split(".")[0], []).append(value.flatten().double())
        means = {part: float(torch.cat(values).mean()) for part, values in parts.items()}
        return {
            "utterances": self.num_utterances,
            "skipped": self.num_skipped,
            "weights": flat.numel(),
            "mean": total / flat.numel(),
            "largest": float(flat.max()),
            "share_of_zeros": float((flat == 0).double().mean()),
            "share_that_holds_half": half / flat.numel(),
            "agreement_of_halves": self.agreement,
            "mean_by_part": means,
            "warnings": self._warnings(flat, means),
        }

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, whole or not at all."""
        numbers = {
            _NUM_UTTERANCES: self.num_utterances,
            _NUM_SKIPPED: self.num_skipped,
            _AGREEMENT: self.agreement,
        }
        facts = {name: repr(number) for name, number in numbers.items() if number is not None}
        tensors = {name: value.contiguous() for name, value in self.values.items()}
        write_bytes(path, safetensors.torch.save(tensors, facts))

    @classmethod
    def load(cls, path: Path) -> "Fisher":
        """Read what `save` wrote.

        Raises:
            CheckpointError: There is no such file, or it is damaged.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(
                values,
                int(facts[_NUM_UTTERANCES]),
                int(facts[_NUM_SKIPPED]),
                float(facts[_AGREEMENT]) if _AGREEMENT in facts else None,
            )
        except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"{path} holds no Fisher information that can be read: {error}.",
                hint="Delete it: it is computed again from the model and its speech.",
            ) from None

    def _warnings(self, flat: Tensor, means: Mapping[str, float]) -> list[str]:
        said = []
        if not bool(torch.isfinite(flat).all()):
            said.append("Some of it is not finite: no weight is protected as it should be.")
        if float(flat.sum()) == 0.0:
            said.append("All of it is 0: nothing is protected.")
        else:
            unused = sorted(part for part, mean in means.items() if mean == 0.0)
            said += [f"All of {part} is 0: the loss does not depend on it." for part in unused]
        if self.num_utterances < _FEW:
            said.append(f"It rests on {self.num_utterances} utterances only.")
        if self.agreement is not None and self.agreement < _STABLE:
            said.append(f"Two halves of the utterances agree little ({self.agreement:.2f}).")
        return said


def diagonal_fisher(
    model: nn.Module,
    losses_of: Callable[[Any], Tensor],
    batches: Iterable[Any],
    *,
    progress: Callable[[int], None] | None = None,
) -> Fisher:
    """Estimate the Fisher information of a model at its weights.

    The model is measured as it recognizes (evaluation mode: no dropout, nothing shared between
    utterances), so the result is the same however utterances are put into batches. Each utterance
    goes back through its batch alone; batches of one utterance are the quickest.

    Args:
        model: The model; afterwards it is as it was.
        losses_of: Losses (B,) of a batch, -log p of each utterance, differentiable.
        batches: Speech of those who must not lose.
        progress: Called with the number of utterances of each batch that is done.

    Raises:
        ConfigError: There are no utterances, or no weights that are trained.
    """
    parameters = dict(_trained(model))
    if not parameters:
        raise ConfigError("Fisher information needs weights that are trained, got none.")
    halves = [
        {name: torch.zeros_like(p, dtype=torch.float64) for name, p in parameters.items()}
        for _ in range(2)
    ]
    count = skipped = 0
    with _evaluating(model):
        for batch in batches:
            losses_B = losses_of(batch)
            for b, loss in enumerate(losses_B):
                found = _gradients(loss, parameters, keep_graph=b + 1 < len(losses_B))
                if found is None:
                    skipped += 1
                    continue
                for name, gradient in found.items():
                    halves[count % 2][name] += gradient.double() ** 2
                count += 1
            if progress is not None:
                progress(len(losses_B))
    if not count:
        raise ConfigError(
            f"Fisher information needs an utterance with a finite gradient; of {skipped} none has.",
            hint="Give speech that the model was trained for, with its transcripts.",
        )
    values = {n: ((halves[0][n] + halves[1][n]) / count).to(p.dtype) for n, p in parameters.items()}
    return Fisher(values, count, skipped, _agreement(halves) if count > 1 else None)


class EwcPenalty:
    """The penalty of leaving an anchor, for the trainer to add to the loss.

    It is part of the loss that is differentiated, so it cannot be lost where gradients are None.

    Args:
        model: A model at the anchor; its weights are copied.
        fisher: How much each weight matters; `Fisher.ones` makes L2-SP.
        strength: Lambda times the mean of the Fisher information; 0 is no penalty at all.

    Raises:
        ConfigError: The strength is negative or not finite, or the Fisher information is of another
            model, or all 0.
    """

    def __init__(self, model: nn.Module, fisher: Fisher, strength: float) -> None:
        if not 0.0 <= strength < math.inf:
            raise ConfigError(f"A strength must be 0 or more, and finite, got {strength}.")
        weights = dict(_trained(model))
        unknown = [name for name in weights if name not in fisher.values]
        if unknown or any(fisher.values[name].shape != p.shape for name, p in weights.items()):
            raise ConfigError(
                "Fisher information must be of the model that it protects"
                + (f"; it lacks {unknown[0]}." if unknown else "; a shape differs."),
                hint="Compute it again from this model.",
            )
        mean = fisher.mean
        if not 0.0 < mean < math.inf:
            raise ConfigError(
                f"Fisher information must have a mean above 0 to protect anything, got {mean}.",
                hint="Its report says what is wrong with it.",
            )
        self.strength = strength
        self.paper_lambda = strength / mean
        """The factor before the Fisher information itself, as papers report it."""
        self._anchor = {name: p.detach().clone() for name, p in weights.items()}
        self._relative = {name: fisher.values[name] / mean for name in weights}

    def __call__(self, model: nn.Module) -> Tensor:
        """The penalty at the model's weights, differentiable."""
        parameters = dict(model.named_parameters())
        terms = [
            (self._relative[name] * (parameters[name] - anchor).square()).sum()
            for name, anchor in self._anchor.items()
        ]
        return 0.5 * self.strength * torch.stack(terms).sum()


def _trained(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and then each module in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _gradients(
    loss: Tensor, parameters: Mapping[str, nn.Parameter], *, keep_graph: bool
) -> dict[str, Tensor] | None:
    """The gradient of one utterance's loss, where it has one; None if something is not finite."""
    found = torch.autograd.grad(
        loss, list(parameters.values()), retain_graph=keep_graph, allow_unused=True
    )
    gradients = {n: g for n, g in zip(parameters, found, strict=True) if g is not None}
    finite = [torch.isfinite(tensor).all() for tensor in (loss.detach(), *gradients.values())]
    return gradients if all(finite) else None


def _agreement(halves: list[dict[str, Tensor]]) -> float:
    """Cosine between the square roots of two halves."""
    one, two = (torch.cat([v.flatten().sqrt() for v in half.values()]) for half in halves)
    norms = float(one.norm() * two.norm())
    return float(one @ two) / norms if norms else 0.0
