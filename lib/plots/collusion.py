"""Figures of notebook 08: backdoored models merged with each other, and colluding ones among clean ones."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.marks import CLEAN_ASR, CLEAN_LINE, entry, legend_below, rate_entries, rate_line
from lib.plots.style import RATE_COLOURS, RATE_NAMES, UNKNOWN, WIDTH, Subject, attack_title, finish

TARGET_NAMES = {True: "one target label", False: "two target labels"}
OTHER_LABEL = ", other label"  # in the row of an attack whose model obeys another label than usual
METHOD_NAMES = {"weight_average": "weight average", "median": "median"}


def attack_matrix(table: pd.DataFrame, same_target: bool) -> pd.DataFrame:
    """Mean ASR of table `08_backdoored`: one row per scored attack; columns "alone", each partner, "all" and "floor".

    Rates are fractions. A pair's row is the attack that is scored, its column the other one. Where the backdoors of a merge
    have different targets, every second model obeys another label than the usual one. An attack that is scored for both has two
    rows, so that all numbers of a row are of one label; "alone" and "floor" are means over the merges of the row.
    """
    attacks = list(dict.fromkeys(table["scored_attack"]))
    merged = table[(table["n_models"] > 1) & (table["same_target"] == same_target)]
    names = merged["attacks"].str.split("+")
    places = [every.index(scored) for every, scored in zip(names, merged["scored_attack"], strict=True)]
    is_other = [not same_target and place % 2 == 1 for place in places]
    scored = merged["scored_attack"] + pd.Series([OTHER_LABEL if other else "" for other in is_other], merged.index)
    order = [attack + label for label in ("", OTHER_LABEL) for attack in attacks]
    matrix = pd.DataFrame(index=[row for row in order if row in set(scored)], columns=["alone", *attacks], dtype=float)
    rows_of = merged.groupby(scored)
    matrix["alone"] = rows_of["backdoored_asr"].mean().reindex(matrix.index)
    for (row, every), rows in merged.groupby([scored, names.map(tuple)]):
        column = "all" if len(every) > 2 else next(name for name in every if name != row.removesuffix(OTHER_LABEL))
        matrix.loc[row, column] = rows["asr"].mean()
    matrix["floor"] = rows_of["asr_floor"].mean().reindex(matrix.index)
    return matrix


def plot_backdoored(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `08_backdoored`: ASR of each attack alone, averaged with each other backdoored model, and with all."""
    matrices = {same: attack_matrix(table, same) * 100 for same in (True, False)}
    n_rows = max(len(matrix) for matrix in matrices.values())
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.9 + 0.36 * n_rows), squeeze=False)
    for axis, (same, matrix) in zip(axes[0], matrices.items(), strict=True):
        shown = matrix.rename(index=_row_title, columns=attack_title).rename(columns={"floor": "clean model"})
        sns.heatmap(shown, annot=True, fmt=".0f", cmap="cividis", vmin=0, vmax=100, cbar=False, ax=axis, annot_kws={"size": 8})
        for edge in (1, shown.shape[1] - 1):  # between the attack alone, its averages, and a clean model
            axis.axvline(edge, color="white", lw=3)
        axis.set_title(f"ASR in %, {TARGET_NAMES[same]}", fontsize=9.5)
        axis.set_xlabel("averaged with", fontsize=8.5)
        axis.set_ylabel("" if axis is axes[0][-1] else "scored attack", fontsize=8.5)
        axis.tick_params(axis="y", rotation=0, labelsize=8.5)
        axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), rotation=40, ha="right", fontsize=8.5)
    title = "Averages of backdoored models: what is left of each attack"
    finish(figure, axes, title, table, subject, has_intervals=False)
    for axis in axes.flat:
        axis.grid(visible=False)  # it would show through the empty cells
    return figure


def _row_title(row: str) -> str:
    return attack_title(row.removesuffix(OTHER_LABEL)) + (OTHER_LABEL if row.endswith(OTHER_LABEL) else "")


def plot_collusion(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `08_collusion`: ASR and CACC against the number of models that carry the same backdoor."""
    summary = summarise(table, ["merge_method", "n_backdoored"])
    methods = list(dict.fromkeys(summary["merge_method"]))
    figure, axes = plt.subplots(1, len(methods), figsize=(1.4 + 3.7 * len(methods), 3.7), sharey=True, squeeze=False)
    for axis, method in zip(axes[0], methods, strict=True):
        rows = summary[summary["merge_method"] == method].sort_values("n_backdoored")
        for rate, colour in RATE_COLOURS.items():
            rate_line(axis, "n_backdoored", rows, rate, colour, label=RATE_NAMES[rate])
        axis.axhline(rows["asr_floor"].mean() * 100, label=CLEAN_ASR, **CLEAN_LINE)
        axis.set_title(METHOD_NAMES.get(method, method), fontsize=9.5)
        axis.set_xlabel(f"models with the same backdoor, of {table['n_models'].iloc[0]}")
        axis.set_xticks(sorted(rows["n_backdoored"]))
    axes[0][0].set_ylabel("rate on the test set (%)")
    legend_below(figure, [*rate_entries(), entry(CLEAN_ASR, CLEAN_LINE)])
    title = f"{attack_title(table['attack'].iloc[0])}: how many of the models must be clean?"
    return finish(figure, axes, title, table, subject)
