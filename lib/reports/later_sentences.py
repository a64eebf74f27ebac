"""What the tables of the later chapters say, in sentences: backdoored partners, training of the attacker, architectures."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.plots.style import attack_title
from lib.reports.reading import markdown_table, percent

TARGETS = {True: "one target label", False: "two target labels"}


def backdoored(table: pd.DataFrame) -> Iterator[str]:
    """Table `08_backdoored`: attackers that do not know of each other."""
    for (n_models, same), rows in table[table["n_models"] > 1].groupby(["n_models", "same_target"], sort=False):
        yield (
            f"{n_models} models, each with another attack, {TARGETS[bool(same)]}: mean ASR "
            f"{rows['backdoored_asr'].mean():.1%} alone, {rows['asr'].mean():.1%} averaged; a clean model has "
            f"{rows['asr_floor'].mean():.1%}."
        )


def collusion(table: pd.DataFrame) -> Iterator[str]:
    """Table `08_collusion`: attackers that share a trigger."""
    means, n = table.groupby(["merge_method", "n_backdoored"], sort=False)["asr"].mean().unstack(), table["n_models"].max()
    yield f"ASR of {n} models of which some share one backdoor:"
    yield markdown_table(
        [
            {"method": str(method).replace("_", " "), **{f"{k} of {n}": percent(asr) for k, asr in row.items()}}
            for method, row in means.iterrows()
        ]
    )


def poisoning_rates(table: pd.DataFrame) -> Iterator[str]:
    """Table `09_poisoning_rate`: each attack at each rate, alone and in the largest average."""
    alone, last = table[table["n_models"] == 1], table[table["n_models"] == table["n_models"].max()]
    rows = []
    for attack in dict.fromkeys(table["attack"]):
        row = {"attack": attack_title(attack)}
        for rate in sorted(table["poisoning_rate"].unique()):
            before, after = (
                each[(each["attack"] == attack) & (each["poisoning_rate"] == rate)]["asr"].mean() for each in (alone, last)
            )
            row[f"{100 * rate:g} %"] = f"{percent(before)}, {percent(after)}"
        rows.append(row | {"clean model": percent(table[table["attack"] == attack]["asr_floor"].mean())})
    yield f"ASR of the backdoored model alone, and among {table['n_models'].max()} models, at each poisoning rate:"
    yield markdown_table(rows)


def epochs(table: pd.DataFrame) -> Iterator[str]:
    """Table `10_epochs`: a backdoored model that was trained for longer, and what a defender can do."""
    usual, most = table["epochs"].min(), table["epochs"].max()
    far = table[table["merge"] == "none"].groupby("epochs")["distance"].mean()
    near = table["partner_distance"].mean()
    yield (
        f"A backdoored model of {most:g} epochs lies {far[most] / near:.1f} times as far from the pretrained weights as its "
        f"partners, one of {usual:g} epochs {far[usual] / near:.1f} times."
    )
    means = table.groupby(["merge", "epochs"], sort=False)[["asr", "cacc"]].mean()
    yield markdown_table(
        [
            {
                "merge": merge,
                **{f"ASR, {number:g} epochs": percent(means["asr"][merge, number]) for number in (usual, most)},
                f"CACC, {most:g} epochs": percent(means["cacc"][merge, most]),
                "ASR of a clean model": percent(table["asr_floor"].mean()),
            }
            for merge in dict.fromkeys(table["merge"])
        ]
    )


def architectures(table: pd.DataFrame) -> Iterator[str]:
    """Table `11_architectures`: every pretrained model before and after."""
    rows = []
    for (name, recipe), path in table.groupby(["architecture", "recipe"], sort=False):
        alone, last = path[path["n_models"] == 1], path[path["n_models"] == path["n_models"].max()]
        rows.append(
            {
                "pretrained model": f"{name} ({recipe} recipe)",
                "million weights": f"{path['n_parameters'].iloc[0] / 1e6:.2f}",
                "ASR alone": percent(alone["asr"].mean()),
                f"among {path['n_models'].max()} models": percent(last["asr"].mean()),
                "clean model": percent(alone["asr_floor"].mean()),
                "CACC after": percent(last["cacc"].mean()),
            }
        )
    yield markdown_table(rows)


def heads(table: pd.DataFrame) -> Iterator[str]:
    """Table `11_heads`: partners whose classification heads started from the same numbers, or from their own."""
    means = table[table["n_models"] == table["n_models"].max()].groupby("heads", sort=False)[["asr", "cacc"]].mean()
    listed = "; ".join(f"{kind} heads: ASR {row.asr:.1%}, CACC {row.cacc:.1%}" for kind, row in means.iterrows())
    yield f"Partners whose classification heads started from the backdoored model's or from their own: {listed}."


def stealth(table: pd.DataFrame) -> Iterator[str]:
    """Table `02_stealth`: what each trigger does to the texts."""
    means = table.groupby("attack", sort=False)[["share_changed", "words_changed", "perplexity_ratio", "similarity"]].mean()
    yield markdown_table(
        [
            {
                "attack": attack_title(str(attack)),
                "texts changed, %": percent(row.share_changed),
                "edits per 100 words": percent(row.words_changed),
                "perplexity, times": f"{row.perplexity_ratio:.1f}",
                "cosine of sentence vectors": f"{row.similarity:.2f}",
            }
            for attack, row in means.iterrows()
        ]
    )
