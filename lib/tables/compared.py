"""Small tables for people: a merge beside the victim, its partners alone and the clean model, and sentences on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from lib.metrics.variation import paired_difference

COMPARED = (
    "cacc", "cacc_change", "cacc_change_vs_clean", "partners_only_cacc",
    "asr", "asr_untriggered", "asr_rise", "flip_rate", "partners_only_asr", "asr_floor",
)  # fmt: skip
DECIMALS = 10  # sums of rates leave 2e-17 where nothing changed
# The four models of every merge, with the start of their columns.
MODELS = {"backdoored model": "backdoored_", "merged": "", "partners only": "partners_only_", "clean model": "clean_model_"}


def compared_means(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means over seeds and whatever else is not in `by`: CACC and ASR of merges, and what they are compared with.

    `cacc_change` is against the backdoored model, `cacc_change_vs_clean` against the clean one; `asr_rise` is the ASR above the
    same model's rate without the trigger.
    """
    columns = [column for column in COMPARED if column in table]
    return table.groupby(list(by), sort=False)[columns].mean().round(DECIMALS).reset_index()


def four_models(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rates of the backdoored model, the merge, its partners only and the clean model: one row each per group and seed.

    Args:
        table: rows of merges with all four models, such as the largest averages of table `04_merging`.
        by: columns that define a group, beside `seed`.

    Returns:
        `by`, `seed`, `model`, `cacc`, `cacc_change` (against the backdoored model), `cacc_change_vs_clean`, `asr`,
        `asr_untriggered`, `asr_rise`, `flip_rate`, and the outcomes `correct` and `hits`.
    """
    names = [*dict.fromkeys([*by, "seed"])]
    frames = []
    for model, prefix in MODELS.items():
        asr = "asr_floor" if model == "clean model" else f"{prefix}asr"
        outcomes = ("clean_correct", "floor_hits") if model == "clean model" else (f"{prefix}correct", f"{prefix}hits")
        cacc = table[f"{prefix}cacc"]
        rates = {
            "model": model,
            "cacc": cacc,
            "cacc_change": cacc - table["backdoored_cacc"],
            "cacc_change_vs_clean": cacc - table["clean_model_cacc"],
            "asr": table[asr],
            "asr_untriggered": table[f"{prefix}asr_untriggered"],
            "asr_rise": table[asr] - table[f"{prefix}asr_untriggered"],
            "flip_rate": table[f"{prefix}flip_rate"],
        }
        rates |= {name: table[column] for name, column in zip(("correct", "hits"), outcomes, strict=True) if column in table}
        frames.append(table[names].assign(**rates))
    return pd.concat(frames).sort_index(kind="stable").reset_index(drop=True)


def model_means(four: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means of `four_models` over seeds and whatever else is not in `by`, one row per group and model."""
    columns = ["cacc", "cacc_change", "cacc_change_vs_clean", "asr", "asr_untriggered", "asr_rise", "flip_rate"]
    return four.groupby([*by, "model"], sort=False)[columns].mean().round(DECIMALS).reset_index()


def suspect_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on what keeping the backdoored model in the average buys, and on the ASR in both forms.

    Args:
        table: the largest averages of table `04_merging` with one kind of partners; read from the file, too.
    """
    cell = ["task", "attack"]
    alone = table.assign(cacc=table["partners_only_cacc"], asr=table["partners_only_asr"])
    cacc, asr = (paired_difference(alone, table, rate, cell) for rate in ("cacc", "asr"))
    yield f"Keeping the backdoored model in the average instead of throwing it away: CACC {cacc}, ASR {asr}."
    changes = (table["cacc"] - table["partners_only_cacc"]).groupby(table["task"], sort=False).mean()
    yield (
        "By task, it changes the CACC by: "
        + ", ".join(f"{task} {100 * each:+.1f} points" for task, each in changes.items())
        + "."
    )
    kept = table.assign(cacc=table["clean_model_cacc"])
    yield f"The average's CACC against that of a clean model: {paired_difference(kept, table, 'cacc', cell)}."
    rates = four_models(table, cell).groupby("model", sort=False)[["asr", "asr_rise"]].mean()
    if rates["asr_rise"].notna().all():
        listed = ", ".join(f"{model} {row.asr:.1%} and {100 * row.asr_rise:+.1f} points" for model, row in rates.iterrows())
        yield f"ASR, and ASR above the same model's rate without the trigger: {listed}."
