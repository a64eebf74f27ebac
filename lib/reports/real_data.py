"""Whether the lunch is free on real data, for whom, at which price and against which rivals: a paragraph of the README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lib.metrics import most_models
from lib.plots.style import task_title
from lib.reports.overview import REAL, SEEDED
from lib.reports.reading import percent, read
from lib.tables.deciding import CAUSES, DOMAINS, N_PARTNERS, STRONG, deciding_parts
from lib.tables.defenses import MERGE, NONE, defense_means
from lib.tables.reasons import untriggered_rates

NOT_RUN = "On real data it was not run."
WEAKNESS = "weak partners"  # of the parts of the price
LEAST_REMOVED, MOST_PAID = 0.90, 0.01  # the goal: so much of the removable ASR at so much of CACC
CLAIMED = 0.75  # what the paper says that a merge removes, on average
RIVALS = {"abl": "ABL", "onion_masked": "ONION", "cube": "CUBE", "fine_tune_clean": "fine-tuning on clean texts"}


def real_block(figures: Path) -> str:
    """Items of a list from tables of notebooks 04, 12, 17 and 90 on real data; what is not there is left out.

    Args:
        figures: the folder with the folders `small` and `three_seeds/small`.
    """
    found = [*_other_domains(figures), *_own_task(figures), *_rivals(figures)]
    return "\n".join(f"- {sentence}" for sentence in found or [NOT_RUN])


def _other_domains(figures: Path) -> Iterator[str]:
    found = [table for place in (REAL, SEEDED) if (table := read(figures / place, "90_headline")) is not None]
    if found:
        is_paid = all(table.iloc[-1]["cacc_change_high"] < 0 for table in found)  # as in the answer: the interval decides
        verdict = "it is not free" if is_paid else "the price is undecided"
        sentences = [f"**With partners from other domains {verdict}**: {'; '.join(map(_pairs, found))}.", *_rest(figures)]
        yield " ".join(sentences)


def _rest(figures: Path) -> Iterator[str]:
    """Tasks on which less is gone than the paper says, by an interval, and how much of the rest needs no trigger."""
    averages, merging = (read(figures / SEEDED, name) for name in ("90_headline", "04_merging"))
    if averages is None or merging is None:
        return
    tasks, rates = _tasks(averages), untriggered_rates(merging)
    for task in tasks.index[tasks["removed_share_high"] < CLAIMED]:
        asr, untriggered, clean = map(percent, rates.loc[task, ["asr", "asr_untriggered", "clean_model_asr_untriggered"]])
        yield (
            f"On {task_title(task)} much is left, an ASR of {asr} %: without the trigger the average sends {untriggered} % of "
            f"these texts to the target, a clean model {clean} %."
        )


def _own_task(figures: Path) -> Iterator[str]:
    names = ("reduction_same_task", "partners", "merging")
    averages, partners, merging = (read(figures / SEEDED, f"04_{name}") for name in names)
    if averages is None or partners is None or merging is None:
        return
    accuracies = partners.groupby("partners")["cacc"].mean()
    tasks = _tasks(averages)
    is_reached = (tasks["removed_share"] >= LEAST_REMOVED) & (tasks["cacc_change"] >= -MOST_PAID)
    goals = {"reached": tasks.index[is_reached], "not reached": tasks.index[~is_reached]}
    goal = " and ".join(f"{word} on {', '.join(map(task_title, names))}" for word, names in goals.items() if len(names))
    averaged = most_models(merging, STRONG)
    buys = 100 * (averaged["cacc"] - averaged["partners_only_cacc"]).mean()
    yield (
        f"**What we recommend for a suspicious model**: {N_PARTNERS} well-trained models of the same task and the same "
        f"pretrained model, all with equal weight: {_pairs(averages)}. The goal of {100 * LEAST_REMOVED:.0f} % at "
        f"{100 * MOST_PAID:.0f} point is {goal}. Models of other domains know less of the task "
        f"({percent(accuracies[DOMAINS])} % CACC alone, these {percent(accuracies[STRONG])} %){_cause(figures)}. Who has such "
        f"partners should ask whether the suspicious model is needed at all: beside the partners alone it changes the CACC by "
        f"{buys:+.1f} points."
    )


def _cause(figures: Path) -> str:
    """Where the weakness of other domains' models is the largest part of their price, by an interval below zero."""
    table = read(figures / SEEDED, "17_partners")
    if table is None:
        return ""
    tasks = []
    for task, of_task in deciding_parts(table).query("measure == 'cacc'").groupby("task", sort=False):
        parts = of_task.set_index("part")
        if parts.loc[list(CAUSES), "change"].idxmin() == WEAKNESS and parts.loc[WEAKNESS, "change_high"] < 0:
            tasks.append(task_title(str(task)))
    return f", and on {', '.join(tasks)} that is their price (notebook 17)" if tasks else ""


def _tasks(averages: pd.DataFrame) -> pd.DataFrame:
    """The means of the tasks of a table such as `90_headline`, by the tasks' names."""
    return averages[(averages["task"] != "all") & (averages["attack"] == "all")].set_index("task")


def _pairs(averages: pd.DataFrame) -> str:
    """What the averages of a table such as `90_headline` remove, and what they cost; where there are seeds, task by task."""
    mean, cells = averages.iloc[-1], averages[(averages["task"] != "all") & (averages["attack"] != "all")]
    size = _size(cells, mean["n_seeds"])
    if mean["n_seeds"] == 1:
        return f"{_pair(mean)} ({size})"
    return ", ".join(f"{task_title(str(task))} {_pair(row)}" for task, row in _tasks(averages).iterrows()) + f" ({size})"


def _pair(mean: pd.Series) -> str:
    low, high = (f"{100 * mean[f'cacc_change_{end}']:+.1f}" for end in ("low", "high"))
    return f"{percent(mean['removed_share'])} % at {100 * mean['cacc_change']:+.1f} points [{low}, {high}]"


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
    """How much was measured.

    >>> _size(pd.DataFrame({"task": ["sst2", "olid"], "attack": "bite"}), 3)
    'SST-2, OLID; 1 attack, 3 seeds'
    >>> _size(pd.DataFrame({"task": ["sst2", "sst2", "olid"], "attack": ["lws", "bite", "bite"]}), 1)
    'SST-2 with 2, OLID with 1 attack; 1 seed'
    """
    n_attacks = {task_title(str(task)): n for task, n in cells.groupby("task", sort=False)["attack"].nunique().items()}
    *_, last = n_attacks.values()
    seeds, attacks = f"{n_seeds:.0f} seed{'s' if n_seeds > 1 else ''}", f"attack{'s' if last > 1 else ''}"
    if len(set(n_attacks.values())) == 1:
        return f"{', '.join(n_attacks)}; {last} {attacks}, {seeds}"
    return f"{', '.join(f'{task} with {n}' for task, n in n_attacks.items())} {attacks}; {seeds}"
