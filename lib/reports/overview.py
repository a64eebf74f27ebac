"""The generated parts of the README: the answer in a few sentences, and six findings of one number each, pocket and real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib.metrics.variation import explained_shares
from lib.reports.reading import markdown_table, percent, read
from lib.study.distilled import SAME
from lib.study.texts import OWN_TEXTS
from lib.tables.deciding import DOMAINS, STRONG
from lib.tables.deciding_findings import removed_and_change, removed_and_price

POCKET, REAL, SEEDED = "pocket", "small", "three_seeds/small"
NOT_RUN, NOT_MEASURED = "not run", "not measured"


def answer_block(figures: Path) -> str:
    """The answer of the study in three sentences, from table `90_headline` of both profiles.

    Args:
        figures: the folder with the folders `pocket`, `small` and `three_seeds/small`.

    Raises:
        ValueError: if the pocket table is not there: without it there is no answer.
    """
    pocket, real = (read(figures / place, "90_headline") for place in (POCKET, REAL))
    if pocket is None:
        raise ValueError(f"{figures / POCKET} has no 90_headline.csv; run `make study` first")
    sentences = [
        f"On synthetic tasks, averaging a backdoored model with models of other domains takes {_before_and_after(pocket)}"
    ]
    if real is None:
        sentences.append("On real data it was not run.")
        return " ".join(sentences)
    sentences.append(f"On real data with a small real encoder it takes {_before_and_after(real)}")
    sentences.append(_conclusion(pocket.iloc[-1], real.iloc[-1]))
    partners = [read(figures / place, "17_partners") for place in (POCKET, SEEDED)]
    if all(table is not None and removed_and_price(table, STRONG)[1] >= 0 for table in partners):
        sentences.append("Well-trained models of the task itself, as partners, cost nothing on either (third finding).")
    return " ".join(sentences)


def _before_and_after(headline: pd.DataFrame) -> str:
    mean = headline.iloc[-1]
    cells = headline[(headline["task"] != "all") & (headline["attack"] != "all")]
    n_seeds = int(mean["n_seeds"])
    size = f"{cells['task'].nunique()} tasks x {cells['attack'].nunique()} attacks x {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    return (
        f"the mean attack success rate from "
        f"**{percent(mean.backdoored_asr)} % to {percent(mean.merged_asr)} %** (clean models: {percent(mean.asr_floor)} %) and "
        f"changes the clean accuracy by **{100 * mean.cacc_change:+.1f} points** ({size})."
    )


def _conclusion(pocket: pd.Series[Any], real: pd.Series[Any]) -> str:
    """What both tables say of the price, by the rule of the verdicts: an interval on one side of zero decides."""
    is_paid = [row["cacc_change_high"] < 0 for row in (pocket, real)]
    price = {
        (True, True): "the lunch is not free: both pay for it in accuracy",
        (False, True): "the lunch is not free on real data, and on synthetic data the seeds do not decide",
        (True, False): "the lunch is not free on synthetic data, and on real data the texts do not decide",
        (False, False): "whether the lunch is free neither of them decides",
    }[is_paid[0], is_paid[1]]
    return f"So averaging removes most of a backdoor, but {price}." if _removes_most(pocket, real) else f"So {price}."


def _removes_most(*means: pd.Series[Any]) -> bool:
    return all(mean["removed_share"] > 0.5 for mean in means)


@dataclass(frozen=True)
class Headline:
    """One finding: a statement, the table that it is read from, and how its numbers are written."""

    statement: str
    notebook: str
    table: str
    numbers: Callable[[pd.DataFrame], str]
    needs: tuple[str, ...] = ()
    real: str = REAL  # which folder of real data has most to say

    def row(self, figures: Path) -> dict[str, str]:
        """The finding beside its numbers on both kinds of data."""
        cells = {name: self._cell(figures / place) for name, place in (("Pocket English", POCKET), ("real data", self.real))}
        return {"finding": self.statement, **cells, "notebook, table": f"{self.notebook}, `{self.table}`"}

    def _cell(self, folder: Path) -> str:
        table = read(folder, self.table)
        if table is None:
            return NOT_RUN
        return self.numbers(table) if set(self.needs) <= set(table) else NOT_MEASURED


def _removed(headline: pd.DataFrame) -> str:
    return f"{percent(headline.iloc[-1]['removed_share'])} %"


def _cost(headline: pd.DataFrame) -> str:
    mean = headline.iloc[-1]
    return (
        f"{100 * mean['cacc_change']:+.1f} points [{100 * mean['cacc_change_low']:+.1f}, {100 * mean['cacc_change_high']:+.1f}]"
    )


def _weight(plane: pd.DataFrame) -> str:
    between = plane[(plane["weight"] > 0) & (plane["weight"] < 1)]
    shares = explained_shares(between, "asr", ("weight", "n_partners"), ["task", "attack", "partners"])
    return f"{percent(shares['weight'])} %"


def _own_task(partners: pd.DataFrame) -> str:
    return _beside(removed_and_price(partners, STRONG), removed_and_price(partners, DOMAINS))


def _majority(collusion: pd.DataFrame) -> str:
    n_models = int(collusion["n_models"].max())
    rows = collusion[(collusion["merge_method"] == "weight_average") & (collusion["n_backdoored"] == n_models // 2 + 1)]
    return f"{percent(rows['asr'].mean())} %"


def _student(distillation: pd.DataFrame) -> str:
    is_student = (distillation["method"] == "distil") & (distillation["student_start"] == SAME)
    student = distillation[is_student & (distillation["texts"] == OWN_TEXTS)]
    is_average = (distillation["method"] == "weight_average") & (distillation["student"] == distillation["teacher"])
    if student.empty or not is_average.any():
        return NOT_RUN
    return _beside(*(removed_and_change(rows, "teacher_asr") for rows in (student, distillation[is_average])))


def _beside(found: tuple[float, float], average: tuple[float, float]) -> str:
    """A removed share and a change of the CACC, and in brackets those of the average of the same cells."""
    one, other = (f"{percent(removed)} %, {100 * change:+.1f} points" for removed, change in (found, average))
    return f"{one} ({other})"


FINDINGS = (
    Headline(
        "Averaging removes most of the backdoor: share of the removable ASR that is gone", "90", "90_headline", _removed
    ),
    Headline("The price: change of the clean accuracy, with its 95 % interval", "90", "90_headline", _cost),
    Headline(
        "The same two with well-trained partners of the task itself; in brackets other domains on the same tasks and attacks",
        "17", "17_partners", _own_task, real=SEEDED,
    ),
    Headline(
        "The same two for a student that learns the backdoored model's answers to clean texts; in brackets the average there",
        "15", "15_distillation", _student,
    ),
    Headline(
        "The weight of the backdoored model counts, not the number of its partners: share of the variation of the ASR that "
        "follows the weight", "07", "07_plane", _weight,
    ),
    Headline("Partners with the same backdoor protect it: ASR if most models share it", "08", "08_collusion", _majority),
)  # fmt: skip


def findings_block(figures: Path) -> str:
    """The table of six findings; what was not run on real data is said to be missing."""
    return markdown_table([finding.row(figures) for finding in FINDINGS])
