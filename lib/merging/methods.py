"""The merge methods by name, with what each needs: weights, a pretrained model, statistics, a look at the whole model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lib.merging.averaging import check_free_weights, check_weights, weight_average
from lib.merging.breadcrumbs import band_counts, breadcrumbs, check_band
from lib.merging.clipping import (
    check_clipping,
    clip_factors,
    clipped_average,
    is_embedding,
    row_clipped_average,
    row_squares,
    whole_norms,
)
from lib.merging.dare import check_density, check_dropping, dare, della, mask_generators
from lib.merging.fisher import fisher, fisher_norms
from lib.merging.inner_products import inner_products
from lib.merging.interpolation import check_slerp, model_stock, model_stock_weights, slerp, slerp_weights
from lib.merging.regmean import check_alpha, regmean
from lib.merging.robust import (
    check_krum,
    check_median,
    check_trimmed_mean,
    geometric_median,
    geometric_median_weights,
    krum,
    krum_weights,
    median,
    trimmed_mean,
)
from lib.merging.task_arithmetic import task_arithmetic, task_vector
from lib.merging.ties import ties
from lib.merging.trimming import Cutoff, find_cutoffs, n_kept


@dataclass(frozen=True)
class Part:
    """Some rows of one tensor, shape (rows, last axis), from every model."""

    name: str
    start: int  # the first row
    tensors: list[Tensor]
    extras: dict[str, Any] = field(default_factory=dict)  # `pretrained`, `fishers`, `grams`: what the method needs

    @property
    def task_vectors(self) -> list[Tensor]:
        """What fine-tuning added in each model."""
        return [task_vector(tensor, self.extras["pretrained"]) for tensor in self.tensors]


@dataclass(frozen=True)
class Group:
    """Tensors that a method looks at together before it merges them: one, or all of a model."""

    name: str  # of the tensor, "" for a whole model
    parts: Callable[[], Iterator[Part]]  # starts a new pass
    n_models: int
    n_entries: int
    dtype: torch.dtype  # in which it is computed
    sample: Callable[[], Part | None] = lambda: None  # clusters of neighbouring entries, one per row; None of a small group

    def find_cutoffs(self, k: int) -> list[Cutoff]:
        """For each model what keeps the `k` largest entries of its task vector."""
        passes, sample = (lambda: (part.task_vectors for part in self.parts())), self.sample()
        vectors = sample.task_vectors if sample else None
        return find_cutoffs(passes, [k] * self.n_models, self.dtype, self.n_entries, vectors)


@dataclass(frozen=True)
class MergeMethod:
    """A merge method: a function on tensors, and what has to be known before it is called.

    Attributes:
        merge: `merge(tensors, **settings)`: parts of one tensor, one per model, to the merged part in float32 or wider.
        weights: "average" (summing to 1), "free" (of task vectors, used as given), or "found" by the method itself.
        needs: what else comes in parts: "pretrained", "fishers", "grams".
        measure: `measure(group, **settings)` looks at a group of tensors and returns further arguments of `merge`.
        scope: what is measured together, "tensor" or "model"; a setting named `scope_setting` replaces it.
        check: `check(n_models, has_pretrained, **settings)` raises for what cannot be; it takes those it names.
        whole: the function needs whole tensors, no parts of them.
        widens: the function widens half precision itself, tensor by tensor, and returns the first one's type: faster where
            there is little else to do.
        version: bump when the same settings would give another merge.
    """

    merge: Callable[..., Tensor]
    weights: str = "average"
    needs: tuple[str, ...] = ()
    measure: Callable[..., dict[str, Any]] | None = None
    scope: str = "tensor"
    scope_setting: str = ""
    check: Callable[..., None] | None = None
    whole: bool = False
    widens: bool = False
    version: int | str = 1

    @property
    def settings(self) -> dict[str, Any]:
        """Names and defaults of the settings that a user may give, without weights."""
        functions = [function for function in (self.merge, self.measure) if function]
        found = {p.name: p.default for function in functions for p in inspect.signature(function).parameters.values()}
        given = {
            "tensors",
            "group",
            "weights",
            "pretrained",
            "fishers",
            "grams",
            "cutoffs",
            "factors",
            "generators",
            "keep_masks",
            "norms",
        }
        settings = {name: default for name, default in found.items() if name not in given}
        return settings | ({self.scope_setting: self.scope} if self.scope_setting else {})

    def checked(self, n_models: int, weights: Sequence[float] | None, has_pretrained: bool, **settings: Any) -> dict[str, Any]:
        """Weights and settings for `n_models` models with every default filled in, or an error.

        Raises:
            ValueError: for unknown settings, weights of another number or sum, or values outside their range.
        """
        if unknown := sorted(set(settings) - set(self.settings)):
            raise ValueError(f"unknown settings {unknown}; choose from {sorted(self.settings)}")
        if not n_models:
            raise ValueError("no model to merge; give at least one")
        settings = self.settings | settings  # resolved before they are checked: a default may be wrong beside another value
        if self.scope_setting and settings[self.scope_setting] not in ("tensor", "model"):
            raise ValueError(f"{self.scope_setting} is {settings[self.scope_setting]!r}; choose 'tensor' or 'model'")
        if self.check:
            call_with_named(self.check, {"n_models": n_models, "has_pretrained": has_pretrained} | settings)
        if self.weights == "found":
            if weights is not None:
                raise ValueError("this method finds its weights itself; give none")
            return settings
        if self.weights == "average":
            return {"weights": check_weights(weights, n_models, bool(settings.get("extrapolate", False))), **settings}
        return {"weights": check_free_weights(weights, n_models), **settings}


def call_with_named(function: Callable[..., Any], arguments: Mapping[str, Any], *positional: Any) -> Any:
    """Call a function with those of the arguments that it names."""
    names = _argument_names(function)
    return function(*positional, **{name: value for name, value in arguments.items() if name in names})


@cache
def _argument_names(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def get_merge_method(name: str) -> MergeMethod:
    """The merge method of a name, or a `ValueError` that lists the known ones."""
    if name not in MERGE_METHODS:
        raise ValueError(f"unknown merge method {name!r}; choose from {sorted(MERGE_METHODS)}")
    return MERGE_METHODS[name]


# --- what methods measure ---------------------------------------------------------------------------------------------


def _norms(group: Group, normalize: bool = True) -> dict[str, Any]:
    return {"norms": fisher_norms(part.extras["fishers"] for part in group.parts())} if normalize else {}


def _cutoffs(group: Group, density: float = 0.2) -> dict[str, Any]:
    if density == 1:
        return {}
    return {"cutoffs": group.find_cutoffs(n_kept(density, group.n_entries))}


def _bands(group: Group, density: float = 0.15, gamma: float = 0.01) -> dict[str, Any]:
    found = [group.find_cutoffs(k) for k in band_counts(density, gamma, group.n_entries)]
    return {"cutoffs": list(zip(*found, strict=True))}


def _generators(group: Group, seed: int = 0) -> dict[str, Any]:
    return {"generators": mask_generators(seed, group.n_models, group.name)}


def _slerp_weights(group: Group, t: float = 0.5, dot_threshold: float = 0.9995, on: str = "weights") -> dict[str, Any]:
    vectors = (part.tensors if on == "weights" else part.task_vectors for part in group.parts())
    return {"weights": slerp_weights(inner_products(vectors), t, dot_threshold)}


def _stock_weights(group: Group, clip: bool = True) -> dict[str, Any]:
    return {"weights": model_stock_weights(inner_products(part.task_vectors for part in group.parts()), clip)}


def _krum_weights(group: Group, n_byzantine: int = 1, n_selected: int = 1) -> dict[str, Any]:
    gram = inner_products((part.tensors for part in group.parts()), centred=True)
    return {"weights": krum_weights(gram, n_byzantine, n_selected)}


def _median_weights(group: Group, eps: float = 1e-6, max_iterations: int = 1000) -> dict[str, Any]:
    gram = inner_products((part.tensors for part in group.parts()), centred=True)
    return {"weights": geometric_median_weights(gram, eps, max_iterations)}


def _clip_factors(group: Group) -> dict[str, Any]:
    squares = (row_squares(part.tensors, part.extras["pretrained"]) for part in group.parts())
    return {"factors": clip_factors(whole_norms(squares))}


def _row_clip_factors(group: Group) -> dict[str, Any]:
    return {} if is_embedding(group.name) else _clip_factors(group)  # rows are measured where they are merged


MERGE_METHODS: dict[str, MergeMethod] = {
    "weight_average": MergeMethod(weight_average, widens=True),
    "task_arithmetic": MergeMethod(task_arithmetic, "free", ("pretrained",)),
    "fisher": MergeMethod(fisher, "average", ("fishers",), _norms, "model"),
    "ties": MergeMethod(ties, "free", ("pretrained",), _cutoffs, "model", "trim_scope", check_density),
    "dare": MergeMethod(dare, "free", ("pretrained",), _generators, check=check_dropping),
    "della": MergeMethod(della, "free", ("pretrained",), _generators, check=check_dropping),
    "breadcrumbs": MergeMethod(breadcrumbs, "free", ("pretrained",), _bands, check=check_band),
    "slerp": MergeMethod(slerp, "found", (), _slerp_weights, "tensor", "scope", check_slerp),
    "model_stock": MergeMethod(model_stock, "found", ("pretrained",), _stock_weights),
    "regmean": MergeMethod(regmean, "found", ("grams",), check=check_alpha, whole=True),
    "median": MergeMethod(median, "found", check=check_median),
    "trimmed_mean": MergeMethod(trimmed_mean, "found", check=check_trimmed_mean),
    "krum": MergeMethod(krum, "found", (), _krum_weights, "model", check=check_krum),
    "geometric_median": MergeMethod(geometric_median, "found", (), _median_weights, "model", check=check_median),
    "clipped_average": MergeMethod(clipped_average, "average", ("pretrained",), _clip_factors, "model", check=check_clipping),
    "row_clipped_average": MergeMethod(
        row_clipped_average, "average", ("pretrained",), _row_clip_factors, check=check_clipping
    ),
}
