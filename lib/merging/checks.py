"""What must agree before a merge: names, shapes, types, tied tensors. No weight of a large model is read for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from lib.merging.sources import ModelSource, TensorInfo

N_NAMES_SHOWN = 5
RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
ROWS_COMPARED = 4096
HEAD = ("average", "zeros")  # what to do with tensors that the pretrained model lacks


def check_mergeable(models: Sequence[ModelSource], running_statistics: bool = False) -> None:
    """Raise unless all models have the same tensors: names, shapes, floating or not, in types that can be averaged.

    Args:
        models: at least one.
        running_statistics: allow running means and variances of normalisation layers; averaged variances are not those of
            the averaged model.

    Raises:
        ValueError: naming the model, the tensor, the value found and the value allowed.
    """
    if not models:
        raise ValueError("no model to merge; give at least one")
    first = models[0]
    for key, info in first.tensors.items():
        _check_type(first.name, key, info)
        if not running_statistics and key.rsplit(".", 1)[-1] in RUNNING_STATISTICS:
            raise ValueError(
                f"{first.name}: {key!r} is a running statistic of a normalisation layer; averages of variances are not the "
                "variance of the average. Allow it with running_statistics=True"
            )
    for model in models[1:]:
        missing = [key for key in first.tensors if key not in model.tensors]
        extra = [key for key in model.tensors if key not in first.tensors]
        if missing or extra:
            raise ValueError(
                f"{model.name} and {first.name} have different tensors: {len(missing)} missing {missing[:N_NAMES_SHOWN]}, "
                f"{len(extra)} extra {extra[:N_NAMES_SHOWN]}; only models of one architecture can be merged"
            )
        for key, info in model.tensors.items():
            _check_type(model.name, key, info)
            _check_like(key, first.tensors[key], info, first.name, model.name)


def _check_like(key: str, first: TensorInfo, other: TensorInfo, first_name: str, other_name: str) -> None:
    if first.shape != other.shape:
        raise ValueError(f"{other_name}: tensor {key!r} has shape {list(other.shape)}, but {list(first.shape)} in {first_name}")
    if first.dtype.is_floating_point != other.dtype.is_floating_point:
        raise ValueError(f"{other_name}: tensor {key!r} is {other.dtype}, but {first.dtype} in {first_name}")


def _check_type(name: str, key: str, info: TensorInfo) -> None:
    # float8, int8 and packed 4-bit weights stand for other numbers than they hold: their mean means nothing.
    is_packed = info.dtype in (torch.int8, torch.uint8) and len(info.shape) >= 2
    if is_packed or (info.dtype.is_floating_point and info.dtype.itemsize < 2):
        raise ValueError(f"{name}: tensor {key!r} is quantised ({info.dtype}); dequantise the model first")


def check_pretrained(models: Sequence[ModelSource], pretrained: ModelSource, head: str = "") -> list[str]:
    """The tensors that the pretrained model lacks, which `head` must say how to merge.

    Raises:
        ValueError: for tensors of another shape, or missing ones without `head`.
    """
    first = models[0]
    floating = [key for key, info in first.tensors.items() if info.dtype.is_floating_point]
    missing = [key for key in floating if key not in pretrained.tensors]
    if head and head not in HEAD:
        raise ValueError(f"unknown head {head!r}; choose from {list(HEAD)}")
    if len(missing) == len(floating):
        raise ValueError(f"{pretrained.name} has none of the tensors of {first.name}; is it their pretrained model?")
    if missing and not head:
        raise ValueError(
            f"{pretrained.name} lacks {len(missing)} tensors {missing[:N_NAMES_SHOWN]}; give the initial state of the "
            "fine-tuning, head included, or say head='average' (average them) or head='zeros'"
        )
    for key in floating:
        if key in pretrained.tensors:
            _check_like(key, first.tensors[key], pretrained.tensors[key], first.name, pretrained.name)
    return missing


def check_tied(models: Sequence[ModelSource], tied: Mapping[str, str]) -> None:
    """Raise unless tensors that share one storage in the first model are equal in every model.

    Args:
        models: the models.
        tied: further names of a tensor to its first name.
    """
    for name, first_name in tied.items():
        for model in models:
            if name not in model.tensors or first_name not in model.tensors:
                continue  # a file keeps a shared tensor once
            pairs = zip(_all_rows(model, name), _all_rows(model, first_name), strict=True)
            if not all(torch.equal(one, other) for one, other in pairs):
                raise ValueError(
                    f"{model.name}: {name!r} and {first_name!r} are one tensor in {models[0].name}, but differ here"
                )


def _all_rows(model: ModelSource, key: str) -> Iterator[torch.Tensor]:
    info = model.tensors[key]
    for start in range(0, info.n_rows, ROWS_COMPARED):
        yield model.rows(key, start, min(info.n_rows, start + ROWS_COMPARED)).clone()
