"""Figures of notebook 15: what students learn of a backdoor, and the ways to use models that cannot be averaged."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.plots.dot_rows import plot_dot_rows
from lib.plots.marks import BEFORE, FULL, HOLLOW, NEUTRAL, UPRIGHT_BAR, entry, legend_below
from lib.plots.style import OTHER_COLOURS, RATE_COLOURS, UNKNOWN, WIDTH, Subject, finish, over_attacks

NONE = "none"
STARTS = {"same": "same start", "same_other_head": "same start, other head", "other_architecture": "other architecture"}
METHODS = {
    NONE: "suspicious model alone", "nad": "NAD", "distil": "student", "distil_merge": "student, averaged",
    "distil_ensemble": "student of the ensemble",
}  # fmt: skip
TWIN = "the same with a clean teacher"


def plot_students(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Students in table `15_distillation`: ASR and CACC of each start and kind of texts.

    Full marks are means over attacks and seeds, faint dots single runs, hollow marks the teacher. The grey bar is the student
    of a clean twin on the same texts: what lies right of it in ASR came through.
    """
    rows = table[table["method"] == "distil"]
    groups = list(rows.groupby(["teacher", "student", "student_start", "texts"], sort=False))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.7 + 0.3 * max(len(groups), 3)), sharey=True)
    rates = {"asr": ("asr_floor", "teacher_asr"), "cacc": ("clean_model_cacc", "teacher_cacc")}
    for axis, (rate, (floor, before)) in zip(axes, rates.items(), strict=True):
        for place, (_, runs) in enumerate(groups):
            axis.scatter(100 * runs[rate], [place] * len(runs), s=10, color=RATE_COLOURS[rate], alpha=0.35, linewidths=0)
            axis.plot(100 * runs[floor].mean(), place, **UPRIGHT_BAR)
            axis.plot(100 * runs[before].mean(), place, markersize=6, **{**HOLLOW, "color": RATE_COLOURS[rate]})
            axis.plot(100 * runs[rate].mean(), place, markersize=6, **{**FULL, "color": RATE_COLOURS[rate]})
        axis.set_xlabel(f"{rate.upper()}, %", fontsize=8.5)
    axes[0].set_xlim(-3, 103)
    axes[0].set_yticks(range(len(groups)), [_student_title(*names) for names, _ in groups], fontsize=8.5)
    axes[0].set_ylim(len(groups) - 0.5, -0.5)
    legend = [entry("student", FULL), entry("teacher", HOLLOW), entry(TWIN, UPRIGHT_BAR)]
    legend_below(figure, legend)
    title = f"What a student learns of a backdoor from clean texts: {over_attacks(table['attack'])}"
    return finish(figure, [axes], title, rows, subject, has_intervals=False)


def _student_title(teacher: str, student: str, start: str, texts: str) -> str:
    """How a row of the figure is called.

    >>> _student_title("pocket-bert", "pocket-llama", "other_architecture", "own"), _student_title("a", "a", "same", "general")
    ('pocket-bert to pocket-llama, own texts', 'same start, general texts')
    """
    way = STARTS.get(start, start) if teacher == student else f"{teacher} to {student}"
    return f"{way}, {texts.replace('_', ' ')} texts"


def plot_ways(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `15_distillation`: every method beside the suspicious model, the one that leaves least on top.

    The colour says which models stand beside it. Of students those on the first kind of texts are shown. The ASR is measured
    above that of the same method with a clean twin.
    """
    first = table[table["method"] == "distil"]["texts"].iloc[0]
    shown = table[table["texts"].isin([NONE, first]) & (table["student_start"] != "same_other_head")]
    shown = shown[(shown["method"] != NONE) | (shown["teacher"] == table["teacher"].iloc[0])]
    routes = list(dict.fromkeys(zip(shown["teacher"], shown["student"], strict=True)))
    colours = dict(zip(routes, OTHER_COLOURS * len(routes), strict=False))
    lines = [f"{m}|{t}|{s}" for m, t, s in zip(shown["method"], shown["teacher"], shown["student"], strict=True)]
    shown = shown.assign(line=lines, backdoored_cacc=shown["teacher_cacc"])
    looks = {}
    for line, method, *route in zip(lines, shown["method"], shown["teacher"], shown["student"], strict=True):
        is_alone = method == NONE
        label = METHODS.get(method, method.replace("_", " "))
        look = {**HOLLOW, "color": NEUTRAL} if is_alone else {**FULL, "color": colours[tuple(route)]}
        looks[line] = {**look, "label": label}
    legend = [entry(f"{teacher} beside {student}", FULL, color=colours[teacher, student]) for teacher, student in routes]
    before = next((line for line in lines if line.startswith(f"{NONE}|")), "")
    legend += [entry(BEFORE, HOLLOW)] if before else []
    return plot_dot_rows(
        shown, "line", looks, legend, f"Without a common start: {over_attacks(table['attack'])}", subject, before
    )
