"""What models said, without their weights: `python -m lib.answers keep FIGURES`, `restore FIGURES`, `forget`.

`keep` writes `answers.zip` beside the tables of a folder such as `figures/small`, of all or, with `--only`, some notebooks.
`restore` puts it into the store: the notebooks that made the tables make them again without a training, and go on from there
with more seeds, tasks or attacks. `forget` removes models without weights from the store, where weights are needed after all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lib import paths
from lib.study.answers import ANSWERS, forget_answers, keep_answers, restore_answers
from lib.study.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when writing failed, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.answers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    keep, restore = (commands.add_parser(name) for name in ("keep", "restore"))
    for command in (keep, restore):
        command.add_argument("figures", type=Path, help="folder of tables with its manifest")
    keep.add_argument("--only", nargs="+", default=[], metavar="NN", help="numbers of notebooks; default all that made tables")
    commands.add_parser("forget")
    options, store = parser.parse_args(arguments), Store(paths.cache_dir())
    try:
        if options.command == "keep":
            written = keep_answers(options.figures, store, options.only)
            print(f"wrote {written}, {written.stat().st_size / 1e6:.1f} MB")
        elif options.command == "restore":
            print(f"{restore_answers(options.figures / ANSWERS, store)} artifacts are new in {store.root}")
        else:
            print(f"removed {forget_answers(store)} models without weights from {store.root}")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
