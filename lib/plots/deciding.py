"""Figures of notebook 17: the same victim with partners of several kinds, and what their own accuracy has to do with it."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.metrics.summary import summarise
from lib.plots.dot_rows import plot_dot_rows
from lib.plots.marks import FULL, entry, legend_below, spread
from lib.plots.style import OTHER_COLOURS, REFERENCE, UNKNOWN, WIDTH, Subject, finish

OWN, OTHER = "models of the task itself", "models of other domains"
COLOURS = {OWN: OTHER_COLOURS[0], OTHER: OTHER_COLOURS[1]}
# What a kind of partners is called, whose domain it is, and its mark: a square for the task itself, as in all figures.
KINDS = {
    "same_task": ("own task", OWN, "s"),
    "same_task_few": ("own task, {n_rows} rows", OWN, "s"),
    "same_task_lacking": ("own task, one label never seen", OWN, "X"),
    "other_domains": ("other domains", OTHER, "o"),
    "other_domains_more": ("other domains, up to {n_rows} rows", OTHER, "o"),
}


def _label(kind: str, n_rows: int) -> str:
    return KINDS[kind][0].format(n_rows=n_rows)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(kind=[_label(kind, n) for kind, n in zip(table["partners"], table["n_rows"], strict=True)])


def plot_deciding(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `17_partners` of one task: what each kind of partners leaves of the attacks, and what it costs."""
    named = _named(table)
    looks = {}
    for kind, name in named.drop_duplicates("kind")[["partners", "kind"]].itertuples(index=False):
        _, whose, marker = KINDS[kind]
        looks[name] = {**FULL, "marker": marker, "color": COLOURS[whose]}
    legend = [entry(OWN, FULL, marker="s", color=COLOURS[OWN]), entry(OTHER, FULL, color=COLOURS[OTHER])]
    n = table["n_partners"].max()
    return plot_dot_rows(named, "kind", looks, legend, f"One backdoored model with {n} partners of several kinds", subject)


def plot_partner_strength(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `17_partners`: the change of the CACC against the partners' own accuracy on the task, one panel per task.

    The line goes through models of the task on more and more rows. What lies below it costs more than the partners' accuracy
    explains.
    """
    named = _named(table)
    tasks = list(dict.fromkeys(table["task"]))
    size = (max(4.6, min(WIDTH, 0.8 + 4.2 * len(tasks))), 3.7)
    figure, axes = plt.subplots(1, len(tasks), figsize=size, squeeze=False, sharey=True)
    for axis, task in zip(axes[0], tasks, strict=True):
        of_task = named[named["task"] == task]
        summary = summarise(of_task, ["kind"], ["cacc_change"])
        means = of_task.groupby("kind", sort=False)[["partner_cacc", "n_rows"]].mean()
        means["partners"] = of_task.groupby("kind", sort=False)["partners"].first()
        rows = summary.set_index("kind").join(means)
        curve = rows[rows["partners"].isin(["same_task", "same_task_few"])].sort_values("n_rows")
        axis.plot(curve["partner_cacc"] * 100, curve["cacc_change"] * 100, color=COLOURS[OWN], linewidth=1.2, zorder=2)
        for _, row in rows.iterrows():
            _, whose, marker = KINDS[row["partners"]]
            one = row.to_frame().T.infer_objects()
            style = {"markersize": 6, "capsize": 2, "elinewidth": 1, "zorder": 3, **FULL, "marker": marker}
            axis.errorbar(
                row["partner_cacc"] * 100, row["cacc_change"] * 100, spread(one, "cacc_change"), color=COLOURS[whose], **style
            )
        axis.axhline(0, **REFERENCE)
        axis.set_xlabel("mean CACC of the partners alone, per cent", fontsize=8.5)
        axis.set_title(subject.task(task), fontsize=9.5)
    axes[0][0].set_ylabel(f"{title_of('cacc_change')}, points", fontsize=8.5)
    marks = [
        entry(f"{OWN}, on few and on all rows", FULL, marker="s", color=COLOURS[OWN]),
        entry(OTHER, FULL, color=COLOURS[OTHER]),
    ]
    if "same_task_lacking" in set(table["partners"]):
        marks.insert(1, entry(KINDS["same_task_lacking"][0], FULL, marker="X", color=COLOURS[OWN]))
    legend_below(figure, marks)
    return finish(figure, axes, "Is it the weakness of the partners?", table, subject)
