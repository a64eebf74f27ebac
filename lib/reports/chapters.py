"""`figures/README.md`: everything that the study found, chapter by chapter, from the tables in `figures/`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.metrics.reduction import most_models
from lib.reports import grids, later_sentences, sentences
from lib.reports.reading import Part
from lib.tables import (
    certificate_findings,
    clean_sets_findings,
    composition_findings,
    deciding_findings,
    defense_findings,
    detection_findings,
    distillation_findings,
    domains_findings,
    headline_findings,
    hidden_findings,
    kept_findings,
    kinds_findings,
    limits_findings,
    margin_findings,
    module_findings,
    onion_findings,
    partner_findings,
    plane_findings,
    predict_findings,
    proposition_findings,
    published_findings,
    rank_findings,
    scaling_findings,
    size_findings,
    strayed_findings,
    subsets_at_distance,
    suspect_findings,
)

OPENING = """# All findings

This page is written by notebook 90 (or `python -m lib.reports`) from the tables in the folders beside it. No number is typed.
Words are explained in [notebooks/README.md](../notebooks/README.md), columns in `lib/metrics/columns.py`. Every rate is in per
cent. ASR is the attack success rate, CACC the accuracy on clean texts. In every section one folder after the other has its say:
"""
# The folders in `figures/`, and what was run in each.
PLACES = {
    "pocket": "Pocket English: synthetic tasks, small models made by this project",
    "six_seeds/pocket": "the same with six seeds, notebooks 04 and 90 only",
    "all_tasks/pocket": "notebook 12 on all four tasks instead of one",
    "all_rows/pocket": "notebook 14 with all attackers and what triggers are made of, notebook 15 with all students",
    "small": "real data with a small real encoder, one seed, a subset for CPU",
    "three_seeds/small": "real SST-2 and OLID with three seeds, notebooks 04 and 90; SST-2 alone, notebook 17",
    "published/small": "real data, one seed; poisoned texts of the literature where there are some",
}
MAIN = ("pocket", "small")
WITH_THREE = (*MAIN, "three_seeds/small")
WITH_SEEDS = ("pocket", "six_seeds/pocket", "small", "three_seeds/small")


@dataclass(frozen=True)
class Chapter:
    """A section of the document: its question, its parts, and the folders that are asked."""

    title: str
    parts: Sequence[Part]
    places: Sequence[str] = MAIN


def _keeping(merging: pd.DataFrame) -> Iterator[str]:
    yield from suspect_findings(most_models(merging, "other_domains"))
    if "same_task" in set(merging["partners"]):
        first, *_ = suspect_findings(most_models(merging, "same_task"))
        yield f"The same with models of the task itself as partners. {first}"


def _distances(domains: pd.DataFrame) -> Iterator[str]:
    yield from kinds_findings(pd.concat(subsets_at_distance(domains)))


CHAPTERS = (
    Chapter(
        "Does averaging remove the backdoor, and what does it cost? (notebooks 04 and 90)",
        (
            Part("90_headline", headline_findings),
            Part("04_merging", lambda table: grids.by_number(table, "other_domains", ["attack"])),
        ),
        ("pocket", "six_seeds/pocket"),
    ),
    Chapter(
        "The same on real data",
        (
            Part("90_headline", headline_findings),
            Part("04_merging", lambda table: grids.by_number(table, "other_domains", ["task", "attack"])),
            Part("04_merging", lambda table: grids.by_number(table, "same_task", ["task", "attack"])),
        ),
        ("small", "three_seeds/small"),
    ),
    Chapter(
        "What does keeping the backdoored model buy?",
        (Part("04_merging", _keeping, ("partners_only_cacc", "cacc_change_vs_clean")),),
        WITH_SEEDS,
    ),
    Chapter("How good are the partners alone? (notebook 04)", (Part("04_partners", partner_findings),), WITH_THREE),
    Chapter("Four claims, tested (notebook 90)", (Part("90_tests", grids.tests),), WITH_SEEDS),
    Chapter(
        "Where we agree with the paper (notebook 90)",
        (Part("90_agreement", grids.verdicts),),
        WITH_SEEDS,
    ),
    Chapter("How far is a domain from its task? (notebook 01)", (Part("01_transfer", sentences.transfer),)),
    Chapter("How visible are the attacks? (notebook 02)", (Part("02_stealth", later_sentences.stealth),)),
    Chapter(
        "How strong are the attacks? (notebook 03)",
        (Part("03_attacks", sentences.attacks, ("share_changed",)), Part("03_attacks", grids.by_attack)),
        ("pocket", "small", "published/small"),
    ),
    Chapter("Are our triggers like published ones? (notebook 03)", (Part("03_published", published_findings),), ("small",)),
    Chapter(
        "Do merge methods differ as defenses? (notebook 05)",
        (
            Part("05_means", sentences.methods),
            Part("05_kept", sentences.kept),
            Part("05_sweeps", sentences.sweeps),
        ),
    ),
    Chapter(
        "Which coefficient would a defender choose? (notebook 06)",
        (
            Part("06_chosen", sentences.chosen),
            Part("06_task_arithmetic", sentences.task_arithmetic),
            Part("06_chosen_task_arithmetic", sentences.chosen),
        ),
    ),
    Chapter(
        "What if the attacker trained at another rate? (notebook 06)",
        (Part("06_barrier", sentences.rates_of_training), Part("06_strayed", strayed_findings)),
    ),
    Chapter(
        "Number of partners or weight of the backdoored model? (notebook 07)",
        (
            Part("07_plane", plane_findings),
            Part("07_partner_kinds", sentences.partner_kinds),
            Part("07_domains", _distances, ("n_near", "partners_only_cacc")),
        ),
    ),
    Chapter(
        "Is the price the merge's, the weakness's, or the domain's? (notebook 17)",
        (Part("17_partners", deciding_findings, ("partner_cacc",)),),
        WITH_THREE,
    ),
    Chapter(
        "What if the partners are backdoored, too? (notebook 08)",
        (Part("08_backdoored", later_sentences.backdoored), Part("08_collusion", later_sentences.collusion)),
    ),
    Chapter("More or less poison (notebook 09)", (Part("09_poisoning_rate", later_sentences.poisoning_rates),)),
    Chapter("A longer training of the backdoored model (notebook 10)", (Part("10_epochs", later_sentences.epochs),)),
    Chapter(
        "Architectures, sizes, adapters, heads (notebook 11)",
        (
            Part("11_architectures", later_sentences.architectures),
            Part("11_architectures", size_findings, ("recipe", "asr_rise")),
            Part("11_heads", later_sentences.heads),
        ),
    ),
    Chapter(
        "Merging beside other defenses (notebook 12)",
        (Part("12_defenses", defense_findings),),
        ("pocket", "all_tasks/pocket", "small"),
    ),
    Chapter("Does ONION depend on its language model? (notebook 12)", (Part("12_onion", onion_findings),), ("small",)),
    Chapter(
        "Why does merging work? (notebook 13)",
        (
            Part("13_margins", margin_findings),
            Part("13_margins", domains_findings),
            Part("13_propositions", proposition_findings),
            Part("13_kept", kept_findings),
        ),
    ),
    Chapter("What can be guaranteed? (notebook 13)", (Part("13_certificates", certificate_findings),)),
    Chapter(
        "Where does the backdoor lie, and can a defender know how deep? (notebook 13)",
        (
            Part("13_modules", module_findings),
            Part("13_rank", rank_findings),
            Part("13_hidden", hidden_findings),
            Part("13_weights_predict", predict_findings),
        ),
    ),
    Chapter(
        "Attacks that merging does not remove (notebook 14)",
        (
            Part("14_limits", limits_findings),
            Part("14_scaling", scaling_findings),
            Part("14_detection", detection_findings, ("upload",)),
            Part("14_clean_sets", clean_sets_findings),
        ),
        ("pocket", "all_rows/pocket", "small"),
    ),
    Chapter(
        "What makes a backdoor hard to dilute? (notebook 14)",
        (Part("14_composition", composition_findings),),
        ("all_rows/pocket",),
    ),
    Chapter(
        "Models that cannot be averaged: students and ensembles (notebook 15)",
        (Part("15_distillation", distillation_findings),),
        ("pocket", "all_rows/pocket", "small"),
    ),
)


def chapter_lines(chapter: Chapter, place: Path) -> Iterator[str]:
    """The paragraphs of a chapter for one folder; sentences are items of a list, tables and notes stand for themselves."""
    for part in chapter.parts:
        for line in part.lines(place):
            yield line if line.startswith(("|", "*")) else f"- {line}"


def findings_document(figures: Path) -> str:
    """The text of `figures/README.md`.

    Args:
        figures: the folder with the folders of `PLACES`.
    """
    blocks = [OPENING + "\n" + "\n".join(f"- `{place}`: {what}" for place, what in PLACES.items()) + "."]
    for chapter in CHAPTERS:
        blocks.append(f"## {chapter.title}")
        for place in chapter.places:
            blocks += [f"### `{place}`", *_joined(chapter_lines(chapter, figures / place))]
    return "\n\n".join(blocks) + "\n"


def _joined(lines: Iterator[str]) -> list[str]:
    """Items that follow each other as one list, and a note that a table is missing once."""
    blocks: list[str] = []
    for line in lines:
        if blocks and line.startswith("- ") and blocks[-1].startswith("- "):
            blocks[-1] += "\n" + line
        elif line not in blocks:
            blocks.append(line)
    return blocks
