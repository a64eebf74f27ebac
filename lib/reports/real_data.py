"""Whether the lunch is free on real data, for whom, at which price and against which rivals: a paragraph of the README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lib.metrics.variation import Difference
from lib.plots.style import task_title
from lib.reports.overview import REAL, SEEDED
from lib.reports.reading import percent, read
from lib.tables.deciding import DOMAINS, N_PARTNERS, STRONG, deciding_parts
from lib.tables.deciding_findings import removed_and_price
from lib.tables.defenses import MERGE, NONE, defense_means

NOT_RUN = "On real data it was not run."
LEAST_REMOVED, MOST_PAID = 0.90, 0.01  # the goal: so much of the removable ASR at so much of CACC
RIVALS = {"abl": "ABL", "onion_masked": "ONION", "cube": "CUBE", "fine_tune_clean": "fine-tuning on clean texts"}


def real_block(figures: Path) -> str:
    """Items of a list from tables `90_headline`, `17_partners` and `12_defenses` of real data; what is not there is left out.

    Args:
        figures: the folder with the folders `small` and `three_seeds/small`.
    """
    found = [*_other_domains(figures), *_own_task(figures), *_rivals(figures)]
    return "\n".join(f"- {sentence}" for sentence in found or [NOT_RUN])


def _other_domains(figures: Path) -> Iterator[str]:
    said = []
    for place in (REAL, SEEDED):
        table = read(figures / place, "90_headline")
        if table is None:
            continue
        mean, cells = table.iloc[-1], table[(table["task"] != "all") & (table["attack"] != "all")]
        change = Difference(mean["cacc_change"], mean["cacc_change_low"], mean["cacc_change_high"], 2)  # of texts with one seed
        said.append(f"{percent(mean['removed_share'])} % at {change} ({_size(cells, mean['n_seeds'])})")
    if said:
        yield (f"**With partners from other domains it is not free**: {'; '.join(said)}.")


def _own_task(figures: Path) -> Iterator[str]:
    table = read(figures / SEEDED, "17_partners")
    table = read(figures / REAL, "17_partners") if table is None else table
    if table is None:
        return
    removed, price = removed_and_price(table, STRONG)
    parts = deciding_parts(table)
    found = parts[(parts["measure"] == "cacc") & (parts["part"] == "merge")].iloc[0]
    n_seeds = int(found["n_seeds"])
    bounds = f" [{100 * found['change_low']:+.1f}, {100 * found['change_high']:+.1f}]" if n_seeds > 1 else ""
    change = f"{100 * found['change']:+.1f} points{bounds}"
    strong, weak = (table[table["partners"] == kind] for kind in (STRONG, DOMAINS))
    alone = [percent(rows["partner_cacc"].mean()) for rows in (weak, strong)]
    size = _size(table, found["n_seeds"])
    buys = 100 * (strong["cacc"] - strong["partners_only_cacc"]).mean()
    goal = "reached" if removed >= LEAST_REMOVED and price >= -MOST_PAID else "not reached"
    yield (
        f"**What we recommend for a suspicious model**: {N_PARTNERS} well-trained models of the same task and the same "
        f"pretrained model, all with equal weight: {percent(removed)} % at {change} ({size}). The goal of "
        f"{100 * LEAST_REMOVED:.0f} % at {100 * MOST_PAID:.0f} point is {goal}. Models of other domains know less of the task "
        f"({alone[0]} % CACC alone, these {alone[1]} %). Who has such partners should ask whether the suspicious model is "
        f"needed at all: beside the partners alone it changes the CACC by {buys:+.1f} points."
    )


def _rivals(figures: Path) -> Iterator[str]:
    table = read(figures / REAL, "12_defenses")
    if table is None:
        return
    means = defense_means(table).set_index("defense")
    average = means.loc[MERGE]
    left = {name: mean["excess_asr"] / means.loc[NONE, "excess_asr"] for name, mean in means.iterrows()}
    more = [title for name, title in RIVALS.items() if left.get(name, 0.0) > left[MERGE]]
    less = means[(means["excess_asr"] < average["excess_asr"]) & means["needs"].str.startswith("other models")]
    named = [f"{str(name).replace('_', ' ')} ({100 * mean['cacc_change']:+.1f})" for name, mean in less.iterrows()]
    size = _size(table, table["seed"].nunique())
    yield (
        f"**Rivals**, with partners from other domains ({size}): the average is {percent(1 - left[MERGE])} % at "
        f"{100 * average['cacc_change']:+.1f} points. {', '.join(more) or 'No rival'} leave more of the attack. Of what uses "
        f"the same models, less is left by {', '.join(named) or 'nothing'}; in brackets their change of the CACC (notebook 12)."
    )


def _size(cells: pd.DataFrame, n_seeds: float) -> str:
    tasks, n = ", ".join(task_title(task) for task in dict.fromkeys(cells["task"])), cells["attack"].nunique()
    return f"{tasks}; {n} attack{'s' if n > 1 else ''}, {n_seeds:.0f} seed{'s' if n_seeds > 1 else ''}"
