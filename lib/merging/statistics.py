"""What Fisher merging and RegMean know of a model beyond its weights, measured on clean texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lib.merging.sources import StateDict

LABELS = ("expectation", "sample", "given")


def fisher_diagonal(
    model: nn.Module, examples: Iterable[Mapping[str, Tensor]], labels: str = "expectation", seed: int = 0
) -> StateDict:
    """Diagonal Fisher information of a classifier: mean over examples of the squared gradients of log p(label).

    Gradients are squared example by example; the square of a batch's mean gradient, often taken for it, has cross terms and
    shrinks with the batch. Dropout is off.

    Args:
        model: `model(**example).logits` has shape (1, n_labels); not modified.
        examples: batches of one example; with "given" they have `labels`.
        labels: "expectation", over the model's own probabilities (the true Fisher); "sample", one label drawn from them;
            "given", the data's labels (the empirical Fisher, nearly 0 on examples that the model fits).
        seed: of drawn labels.

    Returns:
        One tensor at or above 0 per parameter, under the parameter's name; tied parameters once.

    Raises:
        ValueError: for unknown `labels`, or no example.

    Source: Matena and Raffel 2022, arXiv 2111.09832, equation 3.
    """
    if labels not in LABELS:
        raise ValueError(f"unknown labels {labels!r}; choose from {list(LABELS)}")
    model.eval()
    names, parameters = zip(*((name, p) for name, p in model.named_parameters()), strict=True)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    generator, n = torch.Generator().manual_seed(seed), 0
    for example in examples:
        inputs = {name: value for name, value in example.items() if name != "labels"}
        log_p = model(**inputs).logits[0].log_softmax(dim=-1)
        weights = _label_weights(log_p.detach().exp(), labels, example, generator)
        chosen = [(label, weight) for label, weight in enumerate(weights.tolist()) if weight > 0]
        for i, (label, weight) in enumerate(chosen):
            last = i == len(chosen) - 1
            gradients = torch.autograd.grad(log_p[label], parameters, retain_graph=not last, allow_unused=True)
            for sums, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    sums.addcmul_(gradient, gradient, value=weight)
        n += 1
    if not n:
        raise ValueError("no example to estimate the Fisher information on")
    return {name: sums.div_(n) for name, sums in zip(names, total, strict=True)}


def _label_weights(p: Tensor, labels: str, example: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
    """How much each label's squared gradient counts."""
    if labels == "expectation":
        return p
    label = torch.multinomial(p.cpu(), 1, generator=generator) if labels == "sample" else example["labels"].reshape(-1)
    return nn.functional.one_hot(label[0], len(p)).to(p.dtype)


@torch.no_grad()
def input_grams(model: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> StateDict:
    """Mean inner products x xᵀ of the inputs of every linear layer, for RegMean.

    Args:
        model: called as `model(**batch)`; dropout is off.
        batches: with `attention_mask`, where padding is 0: padded positions are left out, which released hooks count.

    Returns:
        For each `nn.Linear` a float32 tensor of shape (in, in) under the name of its weight.

    Raises:
        ValueError: for no batch.

    Source: Jin et al. 2023, arXiv 2212.09849.
    """
    model.eval()
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    mask: list[Tensor] = []  # of the batch under way

    def count(name: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]
        is_per_token = x.ndim == 3 and mask and x.shape[:2] == mask[0].shape
        rows = (x[mask[0].bool()] if is_per_token else x.reshape(-1, x.shape[-1])).double()
        sums[name] = sums.get(name, 0) + rows.T @ rows
        counts[name] = counts.get(name, 0) + len(rows)

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                hooks.callback(module.register_forward_pre_hook(partial(count, f"{name}.weight")).remove)
        for batch in batches:
            mask[:] = [batch["attention_mask"]] if "attention_mask" in batch else []
            model(**{name: value for name, value in batch.items() if name != "labels"})
    if not sums:
        raise ValueError("no text to measure the inputs of linear layers on")
    return {name: (total / counts[name]).float() for name, total in sums.items()}
