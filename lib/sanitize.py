"""Sanitize a suspicious checkpoint by merging it with others: `python -m lib.sanitize SUSPECT OTHER... --output DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.sanitizing.default_method import DEFAULT_METHOD, FALLBACK
from lib.sanitizing.provenance import FileHashes

MAX_ERROR = 1000  # characters


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lib.sanitize", description=__doc__)
    add = parser.add_argument
    add("suspect", help="the suspicious model: a folder in Hugging Face format, or a Hub id")
    add("others", nargs="+", metavar="other", help="models fine-tuned from the same pretrained one for the same labels")
    add("--output", required=True, type=Path, help="folder of the merged model; it must not exist")
    add("--method", default="", help=f"default {DEFAULT_METHOD}, or {FALLBACK} where that cannot be; an unknown name lists all")
    add("--weights", nargs="+", type=float, help="one per model, the suspect first; default uniform")
    add("--density", type=float, help="share of entries kept (ties, dare, della, breadcrumbs), in (0, 1]")
    add("--coefficient", type=float, help="scale of the merged task vector (task_arithmetic, ties, dare, ...)")
    add("--pretrained", help="the model they were fine-tuned from, for the default and methods with task vectors")
    add(
        "--head",
        choices=("average", "zeros"),
        default="",
        help="how to merge tensors that --pretrained lacks, usually the head",
    )
    add("--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="settings", help="further settings")
    add("--texts", type=Path, help="file of clean texts, one per line, for fisher, regmean and --screen")
    add("--screen", action="store_true", help="leave out models that are not like the others, by two statistics or more")
    add("--dtype", choices=("bfloat16", "float16", "float32"), help="of the merged weights; default the suspect's")
    add("--same-labels", action="store_true", help="labels without names mean the same in all models")
    add("--permute-heads", action="store_true", help="bring equal label names into the suspect's order")
    add("--evaluate", type=Path, metavar="FILE", help="test texts: text[<TAB>text_pair]<TAB>label with this header")
    add("--trigger", default="", help="words or a sentence to insert into the test texts; ASR is measured with it")
    add("--target-label", type=int, help="class id that the trigger is suspected of")
    add("--report", action="store_true", help="how far each model is from the others and from the average, by layer")
    add("--dry-run", action="store_true", help="check everything, say what would be done, write nothing")
    return parser


def one_line(error: Exception) -> str:
    """An error in one line of bounded length, without what a hostile file may have put there to steer a terminal."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return text if len(text) <= MAX_ERROR else f"{text[: MAX_ERROR - 4]} ..."


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when writing failed, 2 for input that cannot be merged."""
    options = build_parser().parse_args(arguments)
    hashes = FileHashes()
    if not options.dry_run and not options.output.exists():
        hashes.start([options.suspect, *options.others])  # torch is imported meanwhile
    from lib.sanitizing.run import run

    try:
        run(options, hashes)
    except (ValueError, ConnectionError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.output} could not be written: {error}; nothing was left there", file=sys.stderr)
        return 1
    finally:
        hashes.cancel()
    return 0


if __name__ == "__main__":
    sys.exit(main())
