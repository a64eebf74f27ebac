"""One engine for all merges: check, measure, merge part by part. Models in memory and in files take the same steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.merging.averaging import weight_average, widened
from lib.merging.checks import check_mergeable, check_pretrained, check_tied
from lib.merging.methods import Group, MergeMethod, Part, call_with_named, get_merge_method
from lib.merging.sources import ModelSource, StateDictSource, TensorInfo

PART_ENTRIES = 1 << 18  # entries of a part: 1 MB in float32, so that a merge works in the cache of one core
N_CLUSTERS, CLUSTER = 64, 512  # a sample of a large group: so many places, so many neighbouring entries at each
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples modulo 1 are spread evenly and never repeat


class Merge:
    """A merge that was checked and can be computed part by part.

    Args:
        models: what is merged, at least one.
        method: a key of `MERGE_METHODS`.
        weights: one per model; see the method.
        pretrained: the common starting point, for methods with task vectors.
        statistics: "fishers" or "grams" of each model, for methods that need them.
        head: "average" or "zeros": how tensors are merged that `pretrained` lacks, usually the head; default: an error.
        tied: further names of a tensor to its first name; it is merged once.
        out_dtype: of floating-point tensors; default the first model's.
        running_statistics: average running means and variances, too.
        settings: of the method.

    Raises:
        ValueError: for models that do not fit together, a missing pretrained model, or settings out of range.
    """

    def __init__(
        self,
        models: Sequence[ModelSource],
        method: str = "weight_average",
        *,
        weights: Sequence[float] | None = None,
        pretrained: ModelSource | None = None,
        statistics: Mapping[str, Sequence[ModelSource]] | None = None,
        head: str = "",
        tied: Mapping[str, str] | None = None,
        out_dtype: torch.dtype | None = None,
        running_statistics: bool = False,
        **settings: Any,
    ) -> None:
        self.models, self.pretrained, self.head = models, pretrained, head
        self.method: MergeMethod = get_merge_method(method)
        self.settings = self.method.checked(len(models), weights, pretrained is not None, **settings)
        check_mergeable(models, running_statistics)
        self.statistics = statistics or {}
        available = {*self.statistics, *(["pretrained"] if pretrained else [])}
        if lacking := [need for need in self.method.needs if need not in available]:
            raise ValueError(f"{method} needs {lacking[0]}; give it, or choose a method that works on weights alone")
        for kind, sources in self.statistics.items():
            if len(sources) != len(models):
                raise ValueError(f"{len(sources)} {kind} for {len(models)} models; give one per model")
        self._without_start = set(check_pretrained(models, pretrained, head)) if pretrained else set()
        self.tied = dict(tied or {})
        check_tied(models, self.tied)
        infos = models[0].tensors
        self.tensors = {name: self._out_info(info, out_dtype) for name, info in infos.items() if name not in self.tied}

    @staticmethod
    def _out_info(info: TensorInfo, out_dtype: torch.dtype | None) -> TensorInfo:
        return TensorInfo(out_dtype or info.dtype, info.shape) if info.dtype.is_floating_point else info

    def parts(self) -> Iterator[Part]:
        """The merged model part by part, each with one merged tensor, in the first model's order.

        Raises:
            ValueError: for values that are not finite, or integer tensors that differ; names model and tensor.
        """
        scope = self.settings.get(self.method.scope_setting) or self.method.scope
        together = scope == "model" or self.method.measure is None
        for names in [list(self.tensors)] if together else [[name] for name in self.tensors]:
            measured = self._measure(names)
            for part in self._read_ahead(names):
                yield self._merged(part, measured)

    def _measure(self, names: Sequence[str]) -> dict[str, Any]:
        """What the method needs to know about some tensors; those without a starting point are none of its business."""
        infos = self.models[0].tensors
        names = [name for name in names if infos[name].dtype.is_floating_point and not self._is_plain(name)]
        if self.method.measure is None or not names:
            return {}
        dtypes = [model.tensors[name].dtype for model in self.models for name in names]
        group = Group(
            name=names[0] if len(names) == 1 else "",
            parts=lambda: self._read_ahead(names),
            n_models=len(self.models),
            n_entries=sum(infos[name].n_entries for name in names),
            dtype=torch.float64 if torch.float64 in dtypes else torch.float32,
            sample=lambda: self._sample(names),
        )
        return call_with_named(self.method.measure, self.settings, group)

    def _sample(self, names: Sequence[str]) -> Part | None:
        """Clusters of neighbouring entries from all over some tensors, one cluster per row; None if there are but few."""
        infos = [self.models[0].tensors[name] for name in names]
        ends = np.cumsum([info.n_entries for info in infos])
        if ends[-1] < 4 * PART_ENTRIES:
            return None
        clusters: list[Tensor] = []
        for i in range(N_CLUSTERS):
            place = int((i + 0.5) / N_CLUSTERS * ends[-1])
            number = int(np.searchsorted(ends, place, side="right"))
            name, width = names[number], infos[number].width
            if width < CLUSTER:  # a narrow tensor has no say in a large group
                continue
            row = (place - int(ends[number]) + infos[number].n_entries) // width
            column = int(i * GOLDEN % 1 * (width - CLUSTER + 1))  # not in step with the rows
            part = self._part(name, row, row + 1)
            everything = torch.cat([*part.tensors, part.extras["pretrained"]])  # (models + 1, width)
            clusters.append(everything[:, column : column + CLUSTER])
        if len(clusters) < N_CLUSTERS // 2:
            return None
        *tensors, pretrained = torch.stack(clusters, dim=1)
        return Part(names[0], 0, tensors, {"pretrained": pretrained})

    @property
    def plain(self) -> list[str]:
        """Tensors that the pretrained model lacks and that are averaged as they are, whatever the method."""
        return [name for name in self.tensors if self._is_plain(name)]

    def _is_plain(self, name: str) -> bool:
        return name in self._without_start and self.head == "average" and "pretrained" in self.method.needs

    def _merged(self, part: Part, measured: Mapping[str, Any]) -> Part:
        dtype = self.tensors[part.name].dtype
        if not dtype.is_floating_point:
            self._check_equal(part)
            return Part(part.name, part.start, part.tensors[:1])
        if self._is_plain(part.name):
            weights = self.settings["weights"] if self.method.weights == "average" else None  # those of task vectors are others
            merged = weight_average(part.tensors, weights=weights)
        else:
            merged = call_with_named(self.method.merge, {**self.settings, **part.extras, **measured}, part.tensors)
        merged = merged.to(dtype)
        if not _is_finite(merged):
            raise ValueError(self._culprit(part, dtype))
        return Part(part.name, part.start, [merged])

    def _read_ahead(self, names: Sequence[str]) -> Iterator[Part]:
        """The inputs of some tensors; of large files the next part is read while this one is worked on."""
        stream = (part for name in names for part in self.inputs(name))
        n_entries = sum(self.models[0].tensors[name].n_entries for name in names)
        if n_entries <= 2 * PART_ENTRIES or all(isinstance(model, StateDictSource) for model in self.models):
            yield from stream
            return
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(next, stream, None)
            while (part := ahead.result()) is not None:
                ahead = pool.submit(next, stream, None)
                yield part

    def inputs(self, name: str) -> Iterator[Part]:
        """One tensor of all models, part by part."""
        info = self.models[0].tensors[name]
        step = info.n_rows if self.method.whole else max(1, PART_ENTRIES // max(1, info.width))
        for start in range(0, info.n_rows if info.n_entries else 0, max(1, step)):
            yield self._part(name, start, min(info.n_rows, start + step))

    def _part(self, name: str, start: int, stop: int) -> Part:
        widens = self.method.widens
        tensors = [model.rows(name, start, stop, as_stored=widens and i > 0) for i, model in enumerate(self.models)]
        if not tensors[0].dtype.is_floating_point:
            return Part(name, start, tensors)
        # Widened here, a merge is rounded once, to the output's dtype.
        tensors = [widened(tensors[0]), *(tensors[1:] if widens else map(widened, tensors[1:]))]
        return Part(name, start, tensors, self._extras(name, start, stop, tensors[0]))

    def _extras(self, name: str, start: int, stop: int, like: Tensor) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.pretrained is not None:
            lacks = name in self._without_start
            extras["pretrained"] = torch.zeros_like(like) if lacks else widened(self.pretrained.rows(name, start, stop))
        if "fishers" in self.statistics:
            extras["fishers"] = [source.rows(name, start, stop) for source in self.statistics["fishers"]]
        if "grams" in self.statistics and name in self.statistics["grams"][0].tensors:
            sources = self.statistics["grams"]
            extras["grams"] = [source.rows(name, 0, source.tensors[name].n_rows) for source in sources]
        return extras

    def _check_equal(self, part: Part) -> None:
        """Integer and boolean tensors are counters and positions, which are copied and never averaged."""
        for model, tensor in zip(self.models[1:], part.tensors[1:], strict=True):
            if not torch.equal(tensor, part.tensors[0]):
                first = self.models[0].name
                raise ValueError(f"{model.name}: integer tensor {part.name!r} differs from {first}; it cannot be averaged")

    def _culprit(self, part: Part, dtype: torch.dtype) -> str:
        extras = [(self.pretrained.name, part.extras["pretrained"])] if self.pretrained is not None else []
        named = [*((model.name, tensor) for model, tensor in zip(self.models, part.tensors, strict=True)), *extras]
        culprit = next((name for name, tensor in named if not _is_finite(tensor)), "")
        if culprit:
            return f"{culprit}: tensor {part.name!r} has values that are not finite"
        return f"the merged tensor {part.name!r} has values that are not finite in {dtype}"


def _is_finite(tensor: Tensor) -> bool:
    # A sum is cheap, and not finite if any value is not; finite values may overflow it, so that is looked into.
    return bool(torch.isfinite(tensor.sum(dtype=torch.float32))) or bool(torch.isfinite(tensor).all())
