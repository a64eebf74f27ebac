"""A screen for people: its numbers, who was flagged, who was dropped and why; and for `merge.json`."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from lib.sanitizing.margins import DROP_RATE, N_AGREEING
from lib.sanitizing.screening import MIN_MODELS, STATISTICS, Screening

RULE = (
    "A statistic flags a model (marked with *) that lies beyond the median of the other models by more than its margin. A "
    f"model is dropped if {N_AGREEING} statistics or more flag it, unless fewer than {MIN_MODELS} would be left. The "
    f"margins were measured on sets of five small clean models, of which at most {DROP_RATE:.0%} may be dropped. A screen "
    "proves nothing: an attack that it does not see leaves no mark, and an honest model of another domain may be flagged."
)


def screening_text(screening: Screening) -> str:
    """Markdown: one row per model with every statistic and its rank, then notes, words, and what follows."""
    names = screening.table["model"].head(screening.n_models).tolist()
    columns = {
        f"{statistic} ({'low' if STATISTICS[statistic].direction < 0 else 'high'} is suspicious)": [_cell(row) for row in rows]
        for statistic, frame in screening.table.groupby("statistic", sort=False)
        if (rows := frame.to_dict("records"))
    }
    left_out = ["dropped" if place in screening.dropped else "merged" for place in range(len(names))]
    table = pd.DataFrame({"model": names, **columns, "": left_out}).to_markdown(index=False, disable_numparse=True)
    verdicts = [f"- dropped: {names[place]}, {why}" for place, why in screening.dropped.items()]
    verdicts += [
        f"- kept although {why}: {names[place]}; {MIN_MODELS} models are the fewest" for place, why in screening.spared.items()
    ]
    words = [
        f"- furthest moved in {model}, of the words in no text: "
        + ", ".join(f"{row.token} {row.move:.3f}" for row in frame.itertuples())
        for model, frame in screening.words.groupby("model", sort=False)
    ]
    lines = [*(verdicts or ["- no model was dropped"]), *(f"- {note}" for note in screening.notes), *words]
    return f"{RULE}\n\n{table}\n\n" + "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if pd.isna(row["rank"]):
        return "empty"
    return f"{row['value']:.4g}, rank {row['rank']}{' *' if row['is_flagged'] else ''}"


def screening_record(screening: Screening) -> dict[str, Any]:
    """The same for a JSON file; what is missing is null."""
    names = screening.table["model"].head(screening.n_models).tolist()
    return {
        "statistics": json.loads(screening.table.to_json(orient="records")),
        "words": json.loads(screening.words.to_json(orient="records")),
        "notes": list(screening.notes),
        "dropped": [{"model": names[place], "why": why} for place, why in screening.dropped.items()],
        "spared": [{"model": names[place], "why": why} for place, why in screening.spared.items()],
    }
