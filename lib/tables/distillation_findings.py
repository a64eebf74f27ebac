"""Sentences on table `15_distillation`."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.metrics.summary import points
from lib.study.distilled import SAME
from lib.tables.routes import NONE, OTHER_ARCHITECTURE, OUTPUTS

PASSES = 0.1  # a backdoor passes if the student's ASR lies this far above that of the clean twin's student
LOSES = 0.02  # a way costs accuracy if its CACC is this far below that of the partners without the suspicious model
STUDENT = ["teacher", "student", "student_start", "texts"]
ROUTE = ["teacher", "student"]


def student_means(table: pd.DataFrame) -> pd.DataFrame:
    """Students alone: one row per start and texts, means over attacks and seeds, with the range of `excess_asr`.

    `passing` is the share of the runs in which the backdoor passes, `n_runs` their number.
    """
    rows = table[table["method"] == "distil"]
    rates = ["asr", "asr_floor", "excess_asr", "cacc", "teacher_cacc", "agreement", "triggered_agreement"]
    columns = [*rates, "trigger_words_in_texts", "cosine_to_backdoor", "cosine_of_twin"]
    groups = rows.groupby(STUDENT, sort=False)
    ends = groups["excess_asr"].agg(excess_asr_low="min", excess_asr_high="max", passing=_passing, n_runs="size")
    return groups[columns].mean().join(ends).reset_index()


def _passing(excess: pd.Series[float]) -> float:
    return float((excess >= PASSES).mean())


def method_means(table: pd.DataFrame) -> pd.DataFrame:
    """Every method that gives an answer beside the suspicious model itself, with the bar that it must beat.

    Returns:
        One row per method, teacher, student, start and texts: means over attacks and seeds of the rates, `n_models`,
        `n_labels`, `seconds`, and `partners_only_cacc`, the CACC of the same partners without the suspicious model.
    """
    columns = ["asr", "asr_floor", "excess_asr", "cacc", "teacher_cacc", "n_models", "n_labels", "seconds"]
    means = table.groupby(["method", *STUDENT], sort=False)[columns].mean().reset_index()
    bars = means[means["method"] == "partners_only"].groupby("student")["cacc"].mean()
    return means.assign(partners_only_cacc=means["student"].map(bars))


def distillation_findings(table: pd.DataFrame) -> Iterator[str]:
    """Does a backdoor pass through clean texts, and with which start? Can different architectures be merged?"""
    students, means = student_means(table), method_means(table)
    yield from _answers(students, means)
    yield from _students(students)
    yield from _other_architectures(means)
    yield from _outputs(means)
    yield from _second_pretraining(means)


def _answers(students: pd.DataFrame, means: pd.DataFrame) -> Iterator[str]:
    """One sentence per question of the notebook."""
    if len(students):
        starts, texts = _counted(students, "student_start"), _counted(students, "texts")
        yield (
            f"Does a backdoor pass through clean texts, an ASR {100 * PASSES:.0f} points or more above the floor? By start: "
            f"{starts}. By the texts that the student reads: {texts}."
        )
    merged = means[(means["method"] == "distil_merge") & (means["student_start"] == OTHER_ARCHITECTURE)]
    if len(merged):
        gain, excess = (merged["cacc"] - merged["partners_only_cacc"]).mean(), merged["excess_asr"].mean()
        yield (
            "Can different architectures be merged? Not their weights. A student of the suspicious model can be averaged with "
            f"the partners: ASR {points(excess)} from the floor, CACC {points(gain)} from the partners alone."
        )


def _counted(students: pd.DataFrame, column: str) -> str:
    """In how many of the runs the backdoor passed, for each value of a column."""
    return ", ".join(
        f"{value.replace('_', ' ')} in {(rows['passing'] * rows['n_runs']).sum():.0f} of {rows['n_runs'].sum()} runs"
        for value, rows in students.groupby(column, sort=False)
    )


def _students(means: pd.DataFrame) -> Iterator[str]:
    for row in means.itertuples():
        passes = f"passes in {row.passing * row.n_runs:.0f} of {row.n_runs} runs"
        words = "" if pd.isna(row.trigger_words_in_texts) else f" Trigger words in the texts: {row.trigger_words_in_texts:.2g}."
        way = ""
        if pd.notna(row.cosine_to_backdoor):
            cosines = f"{row.cosine_to_backdoor:.2f}, of the twin's student {row.cosine_of_twin:.2f}"
            way = f" Cosine of its way to the backdoor {cosines}."
        spread = f" on average, from {points(row.excess_asr_low)} to {points(row.excess_asr_high)}" if row.n_runs > 1 else ""
        yield (
            f"{row.teacher} teaches {row.student} ({row.student_start}) on texts {row.texts}: ASR {row.asr:.1%}, the twin's "
            f"student {row.asr_floor:.1%}. The backdoor {passes} ({points(row.excess_asr)}{spread}). CACC {row.cacc:.1%}, "
            f"teacher {row.teacher_cacc:.1%}.{way}{words}"
        )


def _other_architectures(means: pd.DataFrame) -> Iterator[str]:
    merges = means[(means["method"] == "distil_merge") & (means["student_start"] == OTHER_ARCHITECTURE)]
    for row in merges.itertuples():
        yield (
            f"Weights of {row.teacher} and {row.student} cannot be averaged, those of a student can: distilled, then merged, "
            f"CACC {row.cacc:.1%} and ASR {row.asr:.1%} (floor {row.asr_floor:.1%}); the partners without the suspicious model "
            f"have a CACC of {row.partners_only_cacc:.1%}: {_against_bar(row.cacc - row.partners_only_cacc)}."
        )


def _against_bar(gain: float) -> str:
    if abs(gain) < LOSES:
        return f"the suspicious model adds nothing worth its risk ({points(gain)})"
    return f"the suspicious model {'adds' if gain > 0 else 'costs'} {points(abs(gain)).lstrip('+')} of CACC"


def _outputs(means: pd.DataFrame) -> Iterator[str]:
    for route, rows in means[means["method"].isin([*OUTPUTS, "weight_average"])].groupby(ROUTE, sort=False):
        if not set(OUTPUTS) <= set(rows["method"]):
            continue
        listed = ", ".join(
            f"{row.method} {points(row.excess_asr)} (CACC {row.cacc:.1%})"
            for row in rows.sort_values("excess_asr").itertuples()
        )
        yield f"{route[0]} beside models of {route[1]}, ASR above the floor, the lowest first: {listed}."


def _second_pretraining(means: pd.DataFrame) -> Iterator[str]:
    rows = means[means["method"].isin(["weight_average", "rebasin"])]
    for student, found in rows.groupby("student", sort=False):
        if set(found["method"]) != {"weight_average", "rebasin"}:
            continue
        plain, matched = (found[found["method"] == name].iloc[0] for name in ("weight_average", "rebasin"))
        yield (
            f"Two pretrainings of one architecture ({student}), averaged as they are: CACC {plain.cacc:.1%}; with their units "
            f"matched first: {matched.cacc:.1%}. The partner alone has {matched.partners_only_cacc:.1%}."
        )


def distillation_outcomes(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """What we expected of table `15_distillation`, what it says, and a possible reason: rows for `lib.notebook.outcomes`."""
    students, means = student_means(table), method_means(table)
    own = students[students["student_start"] == SAME]
    other = students[students["student_start"] == OTHER_ARCHITECTURE]
    found = [
        (
            "with the same start the backdoor passes through clean texts",
            f"ASR above the floor by {points(own['excess_asr'].min())} to {points(own['excess_asr'].max())}",
            "the student's way has a part along the backdoor, if any texts move what the trigger uses",
        ),
        (
            "a student of another architecture has the ASR of the floor",
            f"above it by {points(other['excess_asr'].min())} to {points(other['excess_asr'].max())}",
            "it learns only what the teacher says on texts without the trigger",
        ),
    ]
    beside = means[means["teacher"] == means["student"]].set_index("method")["excess_asr"]
    beside = beside[~beside.index.duplicated()]
    if {"weight_average", *OUTPUTS} <= set(beside.index):
        said = ", ".join(f"{name} {points(beside[name])}" for name in ("logit_ensemble", "weight_average", *OUTPUTS[1:]))
        found.append(
            (
                "the mean of logits keeps more of the backdoor than the mean of weights or of probabilities",
                said,
                "logits have no bound",
            )
        )
    return found


def compared_students(table: pd.DataFrame) -> pd.DataFrame:
    """Table `15_compared`: `method_means` without the suspicious model itself, those that can be used first by CACC."""
    means = method_means(table)
    return means[means["method"] != NONE].sort_values(["student", "cacc"], ascending=[True, False], ignore_index=True)
