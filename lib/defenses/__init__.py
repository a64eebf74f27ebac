"""Defenses by name, in five families that fit whatever a defense does: see `families` for what each family's function gets.

May import: `models`, `datasets`, `merging`, `metrics`, `profiles`.
"""

from __future__ import annotations

from lib.defenses import dan, ensembles, onion, rap, strip, without_data
from lib.defenses.abl import abl
from lib.defenses.bki import bki
from lib.defenses.cube import cube
from lib.defenses.families import KINDS, NEEDS, Defense
from lib.defenses.fine_mixing import fine_mixing
from lib.defenses.fine_prune import fine_prune
from lib.defenses.fine_tune_clean import fine_tune_clean
from lib.defenses.gms import gms
from lib.defenses.nad import nad
from lib.defenses.pure import pure
from lib.defenses.z_def import label_purity, z_def

# A new defense is one file, and one line here.
DEFENSES: dict[str, Defense] = {
    "onion": Defense("input_filter", onion.fit, ("clean labelled data", "language model")),
    "onion_masked": Defense("input_filter", onion.fit_masked, ("clean labelled data", "language model")),
    "onion_published": Defense("input_filter", onion.fit_published, ("language model",)),
    "strip": Defense("input_filter", strip.fit, ("clean texts", "extra passes")),
    "rap": Defense("input_filter", rap.fit, ("clean labelled data", "extra passes")),
    "dan": Defense("input_filter", dan.fit, ("clean labelled data", "extra passes")),
    "abl": Defense("training", abl, ("training data", "poisoning rate")),
    "z_def": Defense("row_filter", z_def, ("training data",)),
    "label_purity": Defense("row_filter", label_purity, ("training data",)),
    "cube": Defense("row_filter", cube, ("training data",)),
    "bki": Defense("row_filter", bki, ("training data",)),
    "fine_tune_clean": Defense("post_training", fine_tune_clean, ("clean labelled data",)),
    "fine_prune": Defense("post_training", fine_prune, ("clean labelled data",)),
    "fine_mixing": Defense("post_training", fine_mixing, ("clean labelled data",)),
    "gms": Defense("post_training", gms, ("training data", "other models")),
    "pure": Defense("post_training", pure, ("clean labelled data",)),
    "nad": Defense("post_training", nad, ("clean labelled data",)),
    "average": Defense("merging", without_data.average, ("other models",)),
    "small_weight": Defense("merging", without_data.small_weight, ("other models",)),
    "partners_only": Defense("merging", without_data.partners_only, ("other models",)),
    "median": Defense("merging", without_data.median, ("other models",)),
    "clipped_average": Defense("merging", without_data.clipped_average, ("other models",)),
    "row_clipped_average": Defense("merging", without_data.row_clipped_average, ("other models",)),
    "logit_ensemble": Defense("ensemble", without_data.logit_ensemble, ("other models", "extra passes")),
    "probability_ensemble": Defense(
        "ensemble", ensembles.probability_ensemble, ("clean labelled data", "other models", "extra passes")
    ),
    "vote": Defense("ensemble", ensembles.vote, ("other models", "extra passes")),
}
SPECIAL = ("nad", "probability_ensemble", "vote")  # of notebook 15 alone, which "all" leaves out

__all__ = ["DEFENSES", "KINDS", "NEEDS", "SPECIAL", "Defense", "get_defense"]


def get_defense(name: str) -> Defense:
    """The defense of a name, or a `ValueError` that lists the known ones."""
    if name not in DEFENSES:
        raise ValueError(f"unknown defense {name!r}; choose from {sorted(DEFENSES)}")
    return DEFENSES[name]
