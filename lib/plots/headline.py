"""The figure of notebook 90: every cell of tasks and attacks before and after the merge."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lib.plots.before_after import plot_before_after
from lib.plots.style import UNKNOWN, Subject, attack_title


def plot_headline(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `04_merging`: ASR, ASR above the same model's own rate, and CACC before and after a merge.

    The merge is the average with all other domains. One line per task and attack; bars are 95 % t-intervals over seeds.
    Published texts have no rate of their own without the trigger: a table with some of them has no panel for it.
    """
    rows = table[table["partners"] == "other_domains"]
    named = rows.assign(cell=rows["task"].map(subject.task) + ", " + rows["attack"].map(attack_title))
    last = rows[rows["n_models"] == rows.groupby("task")["n_models"].transform("max")]
    before, after = (last.groupby("seed")[rate].mean().mean() for rate in ("backdoored_asr", "asr"))
    title = f"Before and after the average with all other domains: mean ASR {before:.1%} to {after:.1%}"
    is_known = rows["untriggered_hits"].notna().all()
    return plot_before_after(named, "cell", title, subject, ("asr", "asr_rise", "cacc") if is_known else ("asr", "cacc"))
