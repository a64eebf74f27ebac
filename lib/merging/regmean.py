"""RegMean: the weights of a linear layer whose outputs are nearest to those of all models, on the models' own inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.merging.averaging import weight_average

NO_PIVOT = 1e-7  # of the largest: its square is what rounding in float64 leaves of a pivot that is 0


def regmean(tensors: Sequence[Tensor], *, grams: Sequence[Tensor] | None = None, alpha: float = 0.9) -> Tensor:
    """Least-squares merge of a linear layer's weights; the plain average where no inner products of inputs are given.

    Args:
        tensors: the layer's weights in each model, shape (out, in); not modified.
        grams: per model the mean of x xᵀ over the layer's inputs x, shape (in, in) (`lib.merging.statistics`). Inputs of all
            models that are always 0 have their columns averaged.
        alpha: factor on the off-diagonal inner products, in [0, 1]; 1 is exact least squares, below it is stable.

    Source: Jin et al. 2023, arXiv 2212.09849. The paper sums over inputs, its code and ours take the mean, so that a larger
    data set has no more weight; it reports alpha near 0.9, its released settings mostly have 0.1.
    """
    if grams is None:
        return weight_average(tensors)
    matrices = [_shrunk(gram.double(), alpha) for gram in grams]
    dead = torch.stack([matrix.diagonal() for matrix in matrices]).sum(dim=0) == 0
    for matrix in matrices:
        matrix.diagonal()[dead] = 1.0  # an equal weight for every model
    right = torch.stack([matrix @ tensor.double().T for matrix, tensor in zip(matrices, tensors, strict=True)]).sum(dim=0)
    factor, failed = torch.linalg.cholesky_ex(torch.stack(matrices).sum(dim=0))
    pivots = factor.diagonal()
    if failed or pivots.min() < NO_PIVOT * pivots.max():
        raise ValueError(f"the inner products of the inputs are singular at alpha {alpha}; give a smaller alpha or more texts")
    return torch.cholesky_solve(right, factor).T.to(weight_average(tensors[:1]).dtype)


def _shrunk(gram: Tensor, alpha: float) -> Tensor:
    diagonal = gram.diagonal().diag()
    return diagonal + alpha * (gram - diagonal)


def check_alpha(alpha: float = 0.9) -> None:
    """Raise a `ValueError` unless alpha lies in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in [0, 1]")
