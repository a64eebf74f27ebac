"""Sanitize a suspicious checkpoint by merging it with others: `python -m lib.sanitize SUSPECT OTHER... --output DIR`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lib.adapters import is_adapter, merge_adapters
from lib.folders import new_folder
from lib.merging.checks import HEAD
from lib.merging.methods import MERGE_METHODS
from lib.model_folders import Suspects, open_models
from lib.run_notebooks import parse_value

if TYPE_CHECKING:
    from lib.evaluation import Evaluation

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lib.sanitize", description=__doc__)
    add = parser.add_argument
    add("suspect", help="the suspicious model: a folder in Hugging Face format, or a Hub id")
    add("others", nargs="+", metavar="other", help="models fine-tuned from the same pretrained one for the same labels")
    add("--output", required=True, type=Path, help="folder of the merged model; it must not exist")
    add("--method", default="weight_average", help=f"one of {', '.join(sorted(MERGE_METHODS))}")
    add("--weights", nargs="+", type=float, help="one per model, the suspect first; default uniform")
    add("--density", type=float, help="share of entries kept (ties, dare, della, breadcrumbs), in (0, 1]")
    add("--coefficient", type=float, help="scale of the merged task vector (task_arithmetic, ties, dare, ...)")
    add("--pretrained", help="the model they were fine-tuned from, for methods with task vectors")
    add("--head", choices=HEAD, default="", help="how to merge tensors that --pretrained lacks, usually the head")
    add("--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="settings", help="further settings")
    add("--texts", type=Path, help="file of clean texts, one per line, for fisher and regmean")
    add("--dtype", choices=sorted(DTYPES), help="of the merged weights; default the suspect's")
    add("--same-labels", action="store_true", help="labels without names mean the same in all models")
    add("--permute-heads", action="store_true", help="bring equal label names into the suspect's order")
    add("--evaluate", type=Path, metavar="FILE", help="test texts: text[<TAB>text_pair]<TAB>label with this header")
    add("--trigger", default="", help="words or a sentence to insert into the test texts; ASR is measured with it")
    add("--target-label", type=int, help="class id that the trigger is suspected of")
    add("--report", action="store_true", help="how far each model is from the others and from the average, by layer")
    add("--dry-run", action="store_true", help="check everything, say what would be done, write nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when writing failed, 2 for input that cannot be merged."""
    options = build_parser().parse_args(arguments)
    try:
        run(options)
    except (ValueError, ConnectionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.output} could not be written: {error}; nothing was left there", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Check, merge, write, report.

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
        plan.write(folder)
        if options.report:
            summary = _write_report(models, folder)
    print(f"wrote {options.output}", summary, sep="\n" if summary else "")
    if evaluation:
        from lib.evaluation import evaluation_table

        print(evaluation_table([evaluation.score(models.folders[0], "suspect"), evaluation.score(options.output, "merged")]))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    given = {"density": options.density, "merge_coefficient": options.coefficient}
    return {name: value for name, value in given.items() if value is not None} | {
        name: parse_value(value) for name, value in options.settings
    }


def _evaluation(options: argparse.Namespace) -> Evaluation | None:
    if options.evaluate is None and not options.trigger and options.target_label is None:
        return None
    from lib.evaluation import read_evaluation  # imported late: a merge alone needs neither pandas nor transformers

    return read_evaluation(options.evaluate, options.trigger, options.target_label)


def _write_report(models: Suspects, folder: Path) -> str:
    from lib.model_report import layer_report, report_table

    report = layer_report(models.sources)
    report.to_csv(folder / "report.csv", index=False)
    return report_table(report)


if __name__ == "__main__":
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))  # one core reads ahead
    sys.exit(main())
