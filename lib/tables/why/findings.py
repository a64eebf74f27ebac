"""Sentences on the tables of notebook 13: answers to four questions, and what each table says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lib.metrics.summary import points
from lib.tables.why.certificates import AVERAGE, PROBABILITIES, VOTE
from lib.tables.why.kept import CURVE
from lib.tables.why.modules import ALL, NONE
from lib.tables.why.rank import BACKDOORED
from lib.why.margins import explained

PREDICTIONS = {"asr_counted": "counted from the leads of both ends", "asr_gaussian": "from their means and spreads alone"}
PREDICTORS = {
    "from_mean": "the mean of the other attacks",
    "from_weights": "the weights",
    "from_texts": "the weights and clean texts",
    "from_leads": "leads on triggered texts (which no defender has)",
}
FIVE_MODELS = 0.8  # the coefficient at which the backdoored model has one fifth of the weight
NEAR = 0.05  # of ASR: a method lies on the curve if it is no further from it


def margin_findings(margins: pd.DataFrame) -> Iterator[str]:
    """Table `13_margins`: why merging dilutes a backdoor, what predicts the ASR, and how much of the curve each explains."""
    triggered = margins[margins["split"] == "triggered"]
    between = triggered[triggered["coefficient"].between(0.001, 0.999)]
    far = (between["coefficient"] - FIVE_MODELS).abs()
    small = between[far == far.min()]
    weight = 1 - small["coefficient"].iloc[0]
    yield (
        f"Why does merging dilute a backdoor? In proportion a weight of {weight:g} would keep {weight:.0%} of its strength; "
        f"the average keeps {small['strength_share'].mean():.1%}, and a text goes to the target only if what is left outweighs "
        f"the lead of all other models together, which happens for "
        f"{small['asr'].mean():.1%} of the triggered texts (clean model: {small['asr_floor'].mean():.1%})."
    )
    scores = [f"{explained(between['asr'], between[name]):.0%} {said}" for name, said in PREDICTIONS.items()]
    yield f"Of the variation of the ASR between both ends, the ensemble explains {' and '.join(scores)}, without any merge."
    off = between.groupby("coefficient")[["asr", "asr_counted"]].mean()
    away = off["asr"] - off["asr_counted"]
    yield (
        f"The average is not the ensemble: up to coefficient 0.5 its ASR lies {points(away[away.index <= 0.5].mean())} "
        f"from what is counted, beyond it {points(away[away.index > 0.5].mean())}."
    )
    clean = margins[(margins["split"] == "clean") & margins["coefficient"].between(0.001, 0.999)]
    yield (
        f"On clean texts the lead of the average lies {(clean['lead_mean'] - clean['lead_ensemble']).mean():+.2f} logits from "
        f"the ensemble's {clean['lead_ensemble'].mean():.2f}: what all models know is not diluted."
    )


def proposition_findings(propositions: pd.DataFrame) -> Iterator[str]:
    """Table `13_propositions`, one sentence each."""
    for row in propositions.itertuples():
        yield f"{row.proposition}: {row.statement} **{row.verdict}** ({row.share_held:.1%} of {row.n_checked}): {row.found}."


def kept_findings(kept: pd.DataFrame) -> Iterator[str]:
    """Table `13_kept`: why the method matters little, and which methods lie off the curve."""
    kept = kept[kept["variant"] != CURVE]
    means = kept.groupby("variant", sort=False)[["weight_left", "asr", "off_curve", "weight_sum"]].mean()
    near = means["off_curve"].abs() <= NEAR
    yield (
        f"Why does the method matter little? The weight that a method leaves to the backdoored model explains "
        f"{explained(kept['asr'], kept['asr_on_curve']):.0%} of the variation of the ASR over {len(means)} methods, "
        f"{kept['attack'].nunique()} attacks and {kept['seed'].nunique()} seeds: {near.sum()} methods lie within "
        f"{100 * NEAR:.0f} points of the plain average at the same weight."
    )
    sums, averages = kept[(kept["weight_sum"] - 1).abs() > 0.5], kept[(kept["weight_sum"] - 1).abs() <= 0.5]
    for what, rows in (
        ("methods whose weights sum to about 1", averages),
        ("methods whose weights sum to much more or less", sums),
    ):
        if len(rows):
            shares = [(rows["asr"] - rows[name]).abs().mean() for name in ("asr_on_curve", "asr_on_kept")]
            yield (
                f"For {what} ({rows['variant'].nunique()}) the ASR lies {100 * shares[0]:.1f} points from that of the plain "
                f"average if the share that is kept is divided by that sum, {100 * shares[1]:.1f} if it is not."
            )
    off = means[~near].sort_values("off_curve")
    listed = ", ".join(f"{name} ({points(row.off_curve)} at a weight of {row.weight_left:.2f})" for name, row in off.iterrows())
    if listed:
        yield f"Off the curve on average: {listed}."


def domains_findings(margins: pd.DataFrame) -> Iterator[str]:
    """Table `13_margins`, ways to other domains: why more of them help."""
    rows = margins[(margins["split"] == "triggered") & (margins["partners"] == "other_domains")]
    steps = {n: rows[np.isclose(rows["coefficient"], 1 - 1 / n)] for n in (2, 5)}
    if any(each.empty for each in steps.values()):
        return
    two, five = steps[2].mean(numeric_only=True), steps[5].mean(numeric_only=True)
    yield (
        f"Why do more domains help? Each of them takes weight from the backdoored model and adds to the reserve: from one half "
        f"to one fifth of the weight the strength falls from {two.strength_share:.0%} to {five.strength_share:.0%}, the mean "
        f"lead on triggered texts rises from {two.lead_mean:+.1f} to {five.lead_mean:+.1f} logits, and the ASR falls from "
        f"{two.asr:.1%} to {five.asr:.1%}."
    )


def certificate_findings(certificates: pd.DataFrame) -> Iterator[str]:
    """Table `13_certificates`: what can be guaranteed."""
    rows = certificates[certificates["n_bad"] == 1]
    rows = rows[rows["n_models"] == rows["n_models"].max()]
    means = rows.groupby("combination", sort=False)[["cacc", "asr", "certified_cacc", "certified_safe"]].mean()
    best, average, n = means.loc[[VOTE, PROBABILITIES]], means.loc[AVERAGE], int(rows["n_models"].iloc[0])
    name = best["certified_cacc"].idxmax()
    row = best.loc[name]
    yield (
        f"What can be guaranteed? Of an average of weights nothing, without a bound on what one model may weigh; of {n} models "
        f"of which any one is bad, the {name} guarantees the right answer for {row.certified_cacc:.1%} of the clean texts, and "
        f"that {row.certified_safe:.1%} of the triggered ones are not sent to the target (CACC {row.cacc:.1%}, ASR "
        f"{row.asr:.1%}; the average, without a guarantee, has CACC {average.cacc:.1%}, ASR {average.asr:.1%})."
    )
    two = certificates[(certificates["n_bad"] == 2) & (certificates["n_models"] == n)]
    held = two.groupby("combination", sort=False)["certified_cacc"].mean()
    yield f"With two bad models of {n} at most {held.max():.1%} of the clean texts are guaranteed ({held.idxmax()})."


def module_findings(modules: pd.DataFrame) -> Iterator[str]:
    """Table `13_modules`: which parts carry the backdoor."""
    means = modules.groupby(["kind", "group"], sort=False)[["norm_share", "lead", "asr", "cacc"]].mean()
    shapley = means.loc["shapley"].sort_values("lead")
    whole = means.loc["whole"]
    total = whole["lead"][ALL] - whole["lead"][NONE]
    first, second = (
        f"{name} ({row.lead / total:.0%}, {row.norm_share:.0%} of the squared distance)"
        for name, row in shapley.head(2).iterrows()
    )
    yield f"Most of what the backdoored model takes from the lead lies in {first} and {second}, by Shapley values."
    necessary, enough = means.loc["necessity"]["asr"].sort_values(), means.loc["sufficiency"]["asr"].sort_values()
    yield (
        f"With the twin's {necessary.index[0]} the backdoored model has an ASR of {necessary.iloc[0]:.1%} instead of "
        f"{whole['asr'][ALL]:.1%}; the twin with the backdoored model's {enough.index[-1]} has {enough.iloc[-1]:.1%} instead "
        f"of {whole['asr'][NONE]:.1%}."
    )
    replaced = means.loc["replaced"].sort_values("asr")
    yield (
        f"A defender has no twin: with the partners' {replaced.index[0]} the ASR is {replaced['asr'].iloc[0]:.1%} "
        f"(CACC {replaced['cacc'].iloc[0]:.1%})."
    )


def rank_findings(rank: pd.DataFrame) -> Iterator[str]:
    """Table `13_rank`: how thin the backdoor is, beside its controls."""
    whole = rank[rank["matrix"] == "all"]
    of_backdoor = whole[whole["control"] == BACKDOORED]
    full = of_backdoor[of_backdoor["density"] == 1]["asr"].mean()
    for kind, said in (("n_directions", "rank {:g} of every matrix"), ("density", "the largest {:.1%} of the entries")):
        means = of_backdoor.groupby(kind)[["asr", "energy"]].mean()
        enough = means[means["asr"] >= 0.9 * full]
        if len(enough):
            first = enough.iloc[0]
            yield (
                f"Of the difference to the twin, {said.format(first.name)} gives an ASR of {first.asr:.1%}, nine tenths of the "
                f"whole's {full:.1%} or more, with {first.energy:.0%} of the squared length."
            )
    matrices = rank[rank["matrix"] != "all"].groupby("control", sort=False)["stable_rank"].mean()
    lengths = whole.groupby("control", sort=False)["length_ratio"].mean()
    listed = "; ".join(f"{name} {value:.1f} (length {lengths[name]:.2f})" for name, value in matrices.items())
    yield f"Mean stable rank of the difference to the twin, and its length beside the backdoored model's: {listed}."


def predict_findings(table: pd.DataFrame) -> Iterator[str]:
    """Table `13_weights_predict`: how far off each prediction is."""
    errors = {
        said: (table[name] - table["half_coefficient"]).abs().mean()
        for name, said in PREDICTORS.items()
        if table[name].notna().any()
    }
    if errors:
        listed = "; ".join(f"{said} {error:.3f}" for said, error in errors.items())
        spread = (table["half_coefficient"] - table["half_coefficient"].mean()).abs().mean()
        yield (
            f"The coefficient that takes half of the backdoor away is {table['half_coefficient'].mean():.2f} on average (mean "
            f"deviation {spread:.3f}). Mean error of predictions for an attack that was left out: {listed}."
        )


def hidden_findings(table: pd.DataFrame) -> Iterator[str]:
    """Table `13_hidden`: what is left inside at the smallest weight, and how linear the way is."""
    last = table[table["layer"] == table["layer"].max()]
    means = last.groupby("coefficient")[["moved", "linearity_clean", "linearity_triggered", "attention_ratio"]].mean()
    at = means[(means.index > 0) & (means.index < 1)].iloc[-1]
    yield (
        f"In the last layer, at a weight of {1 - at.name:g}, the trigger moves the state {at.moved:.0%} as far as in the "
        f"backdoored model. The states of the average and the average of the states have a cosine of {at.linearity_clean:.2f} "
        f"on clean texts and {at.linearity_triggered:.2f} on triggered ones; in the middle of the way "
        f"{means['linearity_clean'].iloc[len(means) // 2]:.2f} and {means['linearity_triggered'].iloc[len(means) // 2]:.2f}."
    )
    if means["attention_ratio"].notna().any():
        yield (
            f"Attention to the trigger, over its share of the tokens: {means['attention_ratio'].iloc[0]:.1f} in the backdoored "
            f"model, {at.attention_ratio:.1f} there, {means['attention_ratio'].iloc[-1]:.1f} in the partners."
        )
