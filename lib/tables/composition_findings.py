"""Sentences on table `14_composition`: what makes a backdoor hard to dilute."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.metrics.dilution import is_counted, per_doubling, trigger_tokens
from lib.tables.verdicts import over_seeds


def composition_findings(table: pd.DataFrame) -> Iterator[str]:
    """How the half weight goes with the trigger's tokens; conditions and rewritten texts beside it; who learnt too little."""
    known = table[is_counted(table)].assign(tokens=trigger_tokens)
    slopes = {
        seed: per_doubling(rows["tokens"], rows["half_weight"])[1]
        for seed, rows in known.groupby("seed")
        if rows["tokens"].nunique() > 1
    }
    if slopes:
        part = over_seeds("", pd.Series(slopes))
        interval = f" [{100 * part.low:+.1f}, {100 * part.high:+.1f}]" if part.n_seeds > 1 else " (one seed)"
        yield (
            f"Twice as many trigger tokens in a text move the half weight by {100 * part.value:+.1f} points{interval}: below 0 "
            "means that more tokens are harder to dilute."
        )
    means = table.groupby("trigger", sort=False)[["half_weight", "words_changed", "backdoored_asr", "partial_asr"]].mean()
    rewritten = means.loc[[name for name in means.index if (table.loc[table["trigger"] == name, "n_words"] == 0).all()]]
    for name, row in rewritten[rewritten["half_weight"].notna()].iterrows():
        yield f"{name}: half weight {row.half_weight:.1%}, and {row.words_changed:.1%} edits per word of the text."
    for name, row in means[means.index.isin(table.loc[table["is_conjunction"], "trigger"])].iterrows():
        half = f"half weight {row.half_weight:.1%}" if row.half_weight == row.half_weight else "no half weight"
        yield f"{name}: {half}; ASR {row.backdoored_asr:.1%}, with one word too few {row.partial_asr:.1%}."
    weak = [str(name) for name, rows in table.groupby("trigger", sort=False) if rows["half_weight"].isna().any()]
    if weak:
        yield f"Learnt too little in some seed to have a half weight: {', '.join(weak)}."
