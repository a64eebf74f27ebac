"""What `python -m lib.sanitize` does: check, merge, write, report, evaluate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lib.folders import new_folder
from lib.profiles import parse_value
from lib.sanitizing.adapters import is_adapter, merge_adapters
from lib.sanitizing.model_folders import ModelFolders, open_models
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
    if any(is_adapter(name) for name in names):
        print(merge_adapters(names, options.output, options.method, options.weights, options.dry_run))
        return
    evaluation = _evaluation(options)
    models = open_models(names, same_labels=options.same_labels, permute_heads=options.permute_heads)
    plan = models.plan(
        options.method, weights=options.weights, pretrained=options.pretrained, head=options.head,
        out_dtype=DTYPES.get(options.dtype), texts=options.texts, **_settings(options),
    )  # fmt: skip
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

        print(evaluation_table([evaluation.score(models.folders[0], "suspect"), evaluation.score(options.output, "merged")]))


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
