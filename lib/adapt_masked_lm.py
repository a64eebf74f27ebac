"""Give an encoder a masked-LM head, offline: `python -m lib.adapt_masked_lm --pretrained FOLDER --texts sst2 yelp`.

Reads training texts of the data folder, without labels. Validation texts only measure the result; test texts are not read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from lib import paths
from lib.folders import new_folder
from lib.models.adapting import AdaptingSettings
from lib.models.precision import PRECISIONS
from lib.sanitize import one_line
from lib.study.adapted import adapted_masked_lm, read_adapted
from lib.study.store import ARTIFACT, Store


def build_parser() -> argparse.ArgumentParser:
    """The command line; what sets a field of `AdaptingSettings` has its name and default."""
    parser = argparse.ArgumentParser(prog="python -m lib.adapt_masked_lm", description=__doc__)
    add, usual = parser.add_argument, AdaptingSettings()
    add("--pretrained", required=True, help="an encoder without a masked-LM head: a folder in Hugging Face format, or a Hub id")
    add("--texts", required=True, nargs="+", metavar="DATASET", help="datasets of the folder FREE_LUNCH_DATA")
    add("--output", type=Path, help="a folder for a copy of the result; it must not exist")
    add("--steps", type=int, default=usual.n_steps, dest="n_steps", help=f"optimisation steps; default {usual.n_steps}")
    add("--batch-size", type=int, default=usual.batch_size, help=f"lines per step; default {usual.batch_size}")
    add("--learning-rate", type=float, default=usual.learning_rate, help=f"its peak; default {usual.learning_rate}")
    add("--masked-share", type=float, default=usual.masked_share, help=f"of the pieces; default {usual.masked_share}")
    add("--max-length", type=int, default=usual.max_length, help=f"pieces per line; default {usual.max_length}")
    add("--n-texts", type=int, default=usual.n_texts, help=f"of each dataset at most; default {usual.n_texts}")
    add("--precision", choices=("auto", *PRECISIONS), default=usual.precision, help="auto: bfloat16 where the hardware has it")
    add("--seed", type=int, default=usual.seed)
    return parser


def run(options: argparse.Namespace) -> None:
    """Make the model, or find it, and print where it lies, how good it is, and how to use it.

    Raises:
        ValueError, OSError: as `adapted_masked_lm`; or for an output folder that exists.
    """
    if options.output and options.output.exists():  # now, not after the training
        raise ValueError(f"output folder {options.output} exists; give a new one")
    given = {field.name: getattr(options, field.name) for field in fields(AdaptingSettings) if hasattr(options, field.name)}
    settings, began = AdaptingSettings(**given), time.perf_counter()

    def report(step: int, loss: float) -> None:
        print(f"step {step} of {settings.n_steps}: loss {loss:.3f}, {time.perf_counter() - began:.0f} s", flush=True)

    folder = adapted_masked_lm(
        options.pretrained,
        options.texts,
        settings,
        data_dir=paths.data_dir(),
        store=Store(paths.cache_dir()),
        report=report,
    )
    record = read_adapted(folder)
    if options.output:
        with new_folder(options.output) as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(ARTIFACT))
        folder = options.output
    print(
        f"{folder}: held-out loss {record['held_out_loss']:.3f}, top-1 {record['top1']:.1%}, top-5 {record['top5']:.1%} "
        f"at {record['n_pieces']:,} masked pieces"
    )
    print(f"use it with `-p masked_lm {folder}`, or as `masked_lm` of a profile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when writing failed, 2 for input that cannot be used."""
    options = build_parser().parse_args(arguments)
    try:
        run(options)
    except (ValueError, ConnectionError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
