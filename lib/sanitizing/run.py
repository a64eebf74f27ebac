"""What `python -m lib.sanitize` does: check, screen, merge, write, report, evaluate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lib.folders import new_folder
from lib.merging import get_merge_method
from lib.profiles import parse_value
from lib.sanitizing.adapters import is_adapter, merge_adapters
from lib.sanitizing.default_method import DEFAULT_HEAD, default_method, named_start
from lib.sanitizing.model_folders import ModelFolders, model_folder, open_models
from lib.sanitizing.plan import Plan
from lib.sanitizing.provenance import FileHashes

if TYPE_CHECKING:
    from lib.sanitizing.evaluation import Evaluation

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def run(options: argparse.Namespace, hashes: FileHashes) -> None:
    """Check, merge, write, report.

    Args:
        options: of `lib.sanitize.build_parser`.
        hashes: of the models' files, for the provenance.

    Raises:
        ValueError: for input that cannot be merged; nothing was written.
        OSError: when the disk is full or read-only; nothing is left of the output.
    """
    if options.output.exists():
        raise ValueError(f"output folder {options.output} exists; give a new one")
    names = [options.suspect, *options.others]
    are_adapters = any(is_adapter(name) for name in names)
    method, why = (options.method, "") if options.method else default_method(len(names), bool(options.pretrained), are_adapters)
    if are_adapters:
        if options.screen:
            raise ValueError("adapters cannot be screened: their embeddings are frozen; fold them into full models first")
        print(*filter(None, [why, merge_adapters(names, options.output, method, options.weights, options.dry_run)]), sep="\n")
        return
    evaluation = _evaluation(options)
    if not options.method and "pretrained" in get_merge_method(method).needs:
        options.head = options.head or DEFAULT_HEAD
    plan = _plan(options, names, method)
    plan, models = replace(plan, notes=_notes(plan, why, bool(options.pretrained))), plan.models
    print(plan.describe(options.output))
    plan.check_space(options.output)
    if evaluation:
        evaluation.check(models.label_names)
    if options.dry_run:
        print("dry run: every check passed, nothing was written")
        return
    summary = ""
    with new_folder(options.output) as folder:
        removed = plan.write(folder, hashes)
        if options.report:
            summary = _write_report(models, folder)
    print("".join(f"removed a pointer to code: {name}\n" for name in removed), end="")
    print(f"wrote {options.output}", summary, sep="\n" if summary else "")
    if evaluation:
        from lib.sanitizing.evaluation import evaluation_table

        suspect = model_folder(options.suspect)
        print(evaluation_table([evaluation.score(suspect, "suspect"), evaluation.score(options.output, "merged")]))


def _plan(options: argparse.Namespace, names: Sequence[str], method: str) -> Plan:
    """The checked merge, after a screen if one is wanted; what the screen found is printed."""
    settings = {
        "weights": options.weights, "pretrained": options.pretrained, "head": options.head,
        "out_dtype": DTYPES.get(options.dtype), "texts": options.texts, **_settings(options),
    }  # fmt: skip
    opening = {"same_labels": options.same_labels, "permute_heads": options.permute_heads}
    if not options.screen:
        return open_models(names, **opening).plan(method, **settings)
    from lib.sanitizing.screened import screen_then_merge  # imported late: a merge alone needs neither pandas nor transformers
    from lib.sanitizing.screening_report import screening_text

    screening, plan = screen_then_merge(names, method, **opening, **settings)
    print(screening_text(screening))
    return plan


def _notes(plan: Plan, why: str, has_pretrained: bool) -> tuple[str, ...]:
    """Why the merge is not the default, and what could be done about it."""
    others = [model for model, role in zip(plan.models.checkpoints, plan.roles, strict=True) if role == "other"]
    hint = "" if has_pretrained or not why else named_start(model.config for model in others)
    return tuple(filter(None, (why, hint)))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    given = {"density": options.density, "merge_coefficient": options.coefficient}
    return {name: value for name, value in given.items() if value is not None} | {
        name: parse_value(value) for name, value in options.settings
    }


def _evaluation(options: argparse.Namespace) -> Evaluation | None:
    if options.evaluate is None and not options.trigger and options.target_label is None:
        return None
    from lib.sanitizing.evaluation import read_evaluation  # imported late: a merge alone needs neither pandas nor transformers

    return read_evaluation(options.evaluate, options.trigger, options.target_label)


def _write_report(models: ModelFolders, folder: Path) -> str:
    from lib.sanitizing.model_report import layer_report, report_table

    report = layer_report(models.sources)
    report.to_csv(folder / "report.csv", index=False)
    return report_table(report)
