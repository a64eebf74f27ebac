"""Table `13_propositions`: each proposition of notebook 13 held against what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.why.margins import strength_left

HOLDS, ROUGHLY, FAILS = "holds", "holds roughly", "fails"
ENOUGH, ROUGH = 0.995, 0.8  # shares of what was checked
IDENTITY = 1e-4  # logits
SLACK = 1e-9


@dataclass(frozen=True)
class Checked:
    """How a proposition fared: its number, what it says, where it was looked at, and what was found."""

    proposition: str
    statement: str
    n_checked: int
    share_held: float
    found: str

    @property
    def verdict(self) -> str:
        """By a rule that was set beforehand: what is proved without an estimate must hold everywhere."""
        return HOLDS if self.share_held >= ENOUGH else ROUGHLY if self.share_held >= ROUGH else FAILS


def propositions_table(margins: pd.DataFrame) -> pd.DataFrame:
    """Table `13_propositions`: P1 to P6, from table `13_margins`.

    Returns:
        `proposition, statement, n_checked, share_held, verdict, found`, one row each; those of derivatives only if some were
        taken.
    """
    triggered = margins[margins["split"] == "triggered"]
    between = triggered[(triggered["coefficient"] > 0) & (triggered["coefficient"] < 1)]
    rows = [check for find in (_p1, _p2, _p3, _p4, _p5, _p6) for check in find(margins, triggered, between)]
    columns = ["proposition", "statement", "n_checked", "share_held", "verdict", "found"]
    return pd.DataFrame([{name: getattr(row, name) for name in columns} for row in rows], columns=columns)


def _p1(margins: pd.DataFrame, triggered: pd.DataFrame, between: pd.DataFrame) -> Iterator[Checked]:
    error = triggered["identity_error"]
    yield Checked(
        "P1",
        "In a mean of logits the lead is the reserve minus the weight times the strength.",
        len(triggered),
        float((error <= IDENTITY).mean()),
        f"largest error {error.max():.1g}; the sign of that difference tells which texts go to the target in "
        f"{between['rule_agreement'].mean():.1%} of the texts",
    )


def _p2(margins: pd.DataFrame, triggered: pd.DataFrame, between: pd.DataFrame) -> Iterator[Checked]:
    bent = margins[margins["bounded_share"].notna() & margins["coefficient"].between(0.001, 0.999)]
    if bent.empty:
        return
    held = np.average(bent["bounded_share"], weights=bent["n_probed"])
    sizes = bent.groupby("split")[["curvature_bound", "delta_probed"]].apply(lambda rows: rows.abs().mean())
    told = "; ".join(
        f"{split}: bound {row.curvature_bound:.1f}, distance {row.delta_probed:.1f}" for split, row in sizes.iterrows()
    )
    yield Checked(
        "P2",
        "Average of the weights and mean of the logits differ by no more than the curvature between the models allows.",
        int(bent["n_probed"].sum()),
        float(held),
        f"mean in logits, {told}; the bound is estimated at the coefficients of the table, and can be missed between them",
    )


def _p3(margins: pd.DataFrame, triggered: pd.DataFrame, between: pd.DataFrame) -> Iterator[Checked]:
    bent = between[between["asr_guaranteed"].notna()]
    smallest = bent[bent["coefficient"] == bent["coefficient"].max()] if len(bent) else bent
    both = between[["asr_counted", "asr_promised_of_outputs"]]
    held = (both["asr_counted"] <= both["asr_promised_of_outputs"] + SLACK).sum()
    held += (bent["asr_probed"] <= bent["asr_guaranteed"] + SLACK).sum()
    says = (both["asr_promised_of_outputs"] < 1).mean()
    found = f"for the mean of logits it promises something in {says:.0%} of the rows"
    if len(bent):
        found += (
            f", for the average of the weights in {(bent['asr_guaranteed'] < 1).mean():.0%}: there the bound of P2 is larger "
            f"than the leads. At the smallest weight, {1 - smallest['coefficient'].iloc[0]:g}, it promises an ASR of at most "
            f"{smallest['asr_promised_of_outputs'].mean():.1%} for the mean of logits (measured "
            f"{smallest['asr_counted'].mean():.1%}), and {smallest['asr_guaranteed'].mean():.1%} for the average (measured "
            f"{smallest['asr_probed'].mean():.1%})"
        )
    statement = "Enough reserve, bounded strength and little curvature bound the ASR below a weight."
    yield Checked("P3", statement, len(both) + len(bent), held / (len(both) + len(bent)), found)


def _p4(margins: pd.DataFrame, triggered: pd.DataFrame, between: pd.DataFrame) -> Iterator[Checked]:
    rows = margins[margins["error_guaranteed"].notna() & margins["coefficient"].between(0.001, 0.999)]
    if rows.empty:
        return
    held = (rows["error_probed"] <= rows["error_guaranteed"] + SLACK).mean()
    yield Checked(
        "P4",
        "A clean text that all models get right, by more than the bound of P2, stays right in the average.",
        len(rows),
        float(held),
        f"it promises an error of at most {rows['error_guaranteed'].mean():.1%}; measured {rows['error_probed'].mean():.1%}",
    )


def _p5(margins: pd.DataFrame, triggered: pd.DataFrame, between: pd.DataFrame) -> Iterator[Checked]:
    held = triggered["asr"] <= triggered["asr_cantelli"] + SLACK
    last = triggered[triggered["coefficient"] >= 0.75]
    yield Checked(
        "P5",
        "Mean and spread of the leads alone bound the ASR (Cantelli).",
        len(triggered),
        float(held.mean()),
        f"at coefficients from 0.75 on it allows {last['asr_cantelli'].mean():.1%}, measured {last['asr'].mean():.1%}",
    )


def _p6(margins: pd.DataFrame, triggered: pd.DataFrame, between: pd.DataFrame) -> Iterator[Checked]:
    weight, share = 1 - between["coefficient"], between["strength_share"]
    inside = (share >= strength_left(weight, 0.0) - 0.01) & (share <= weight + 0.01)
    small = weight <= 0.5
    fifth = between[np.isclose(between["coefficient"], 0.8)]["strength_share"]
    at_fifth = f"; at a weight of one fifth {fifth.mean():.1%} of it is left" if len(fifth) else ""
    yield Checked(
        "P6",
        "In the average the strength falls faster than the weight, down to its square.",
        len(between),
        float(inside.mean()),
        f"between square and weight in {inside[small].mean():.0%} of the rows at weights up to one half, in "
        f"{inside[~small].mean():.0%} above: there the strength stays longer than in proportion{at_fifth}",
    )
