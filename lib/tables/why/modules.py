"""Table `13_modules`: in which parts of the model does the backdoor lie?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.models.checkpoints import Checkpoint
from lib.models.prediction import tokenize
from lib.models.pretrained import load_tokenizer
from lib.study.planning import Planner
from lib.study.probes import plan_probe, probed
from lib.study.study import Study
from lib.tables.rows import Needed, backdoored_recipes, cases_of, declares, progress
from lib.tables.why.ways import Way
from lib.why import added_tokens, all_subsets, counted_asr, lead, module_groups, norm_shares, shapley_values

COLUMNS = ("task", "attack", "seed", "group", "kind", "norm_share", "lead", "asr", "cacc")
ALL, NONE = "all", "none"
N_ATTACKED, N_CLEAN = 128, 250  # texts


def _needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    cases = cases_of(planner, [task], attacks)
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), 300 * len(cases))


@declares(_needed)
def modules_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `13_modules`: parts of the backdoored model and of its clean twin, exchanged.

    Kinds of rows: "whole" (group "all" is the backdoored model, "none" its twin); "necessity", the backdoored model with the
    twin's part; "sufficiency", the twin with the backdoored model's part; "shapley", what the part adds to the mean lead on
    triggered texts, averaged over all orders in which parts can join the twin; "replaced", the backdoored model with the
    part of the average of the other domains, which a defender has.

    Args:
        study: makes the models.
        task: whose models they are.
        attacks: of the backdoored models.

    Returns:
        `lead` and `asr` on the first triggered texts, `cacc` on the first clean ones; `norm_share` of the squared distance
        between backdoored model and twin.
    """
    ways = [Way(study, *case, "other_domains") for case in cases_of(study.planner, [task], attacks)]
    return pd.DataFrame([row for way in progress(ways) for row in _rows(way)])[list(COLUMNS)]


def trigger_tokens(way: Way) -> tuple[int, ...]:
    """Ids of the tokens that the trigger brings into the test texts."""
    rows = way.study.triggered_test(way.task, way.attack, way.seed)
    tokenizer = load_tokenizer(str(way.victim.folder))
    columns = [column for column in ("text", "text_pair") if column in rows]
    after = rows[columns]
    before = rows[[column.replace("text", "original") for column in columns]].set_axis(columns, axis=1)
    old, new = (tokenize(tokenizer, each, way.study.profile.max_length)["input_ids"] for each in (before, after))
    return tuple(added_tokens(old, new))


def _rows(way: Way) -> Iterator[dict[str, Any]]:
    tokens = trigger_tokens(way)
    victim, twin = way.victim.state_dict(), way.twin.state_dict()
    groups = module_groups(victim, tokens)
    names, shares = list(groups), norm_shares(victim, twin, groups)
    subsets = all_subsets(len(names))
    everything = len(subsets) - 1
    single = [1 << i for i in range(len(names))]
    scored = (0, *single, *(everything - each for each in single), everything)
    average = way.study.kept(way.partners[0] if len(way.partners) == 1 else way.study.merge(way.partners))
    exchanged = _exchanged(way, (way.victim, way.twin), tokens, tuple(range(len(subsets))), scored)
    replaced = _exchanged(way, (average, way.victim), tokens, tuple(single), tuple(single))
    what = {"task": way.task, "attack": way.attack, "seed": way.seed}
    yield what | {"group": NONE, "kind": "whole", "norm_share": 0.0} | exchanged[0]
    yield what | {"group": ALL, "kind": "whole", "norm_share": 1.0} | exchanged[everything]
    added = shapley_values([exchanged[i]["lead"] for i in range(len(subsets))])
    for name, bit, value in zip(names, single, added, strict=True):
        row = what | {"group": name, "norm_share": shares[name]}
        yield row | {"kind": "necessity"} | exchanged[everything - bit]
        yield row | {"kind": "sufficiency"} | exchanged[bit]
        yield row | {"kind": "shapley", "lead": value, "asr": np.nan, "cacc": np.nan}
        yield row | {"kind": "replaced"} | replaced[bit]


def _exchanged(
    way: Way, models: tuple[Checkpoint, Checkpoint], tokens: tuple[int, ...], attacked: Sequence[int], scored: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Mean lead, ASR and, for some subsets, CACC of the second model with subsets of the parts of the first."""
    where = (way.study, "parts", models, way.task, way.seed)
    given: dict[str, Any] = {"tokens": tokens}
    recipes = [
        plan_probe(*where, trigger=way.trigger, n=N_ATTACKED, subsets=tuple(attacked), **given),
        plan_probe(*where, n=N_CLEAN, subsets=tuple(scored), **given),
    ]
    triggered, clean = (found["logits"] for found in probed(way.study, recipes))
    leads = lead(triggered, way.labels[: triggered.shape[1]], way.target).mean(axis=1)
    right = (clean.argmax(axis=2) == way.test_labels[: clean.shape[1]]).mean(axis=1)
    cacc = dict(zip(scored, right, strict=True))
    return {
        number: {"lead": float(leads[i]), "asr": counted_asr(triggered[i], way.target), "cacc": cacc.get(number, np.nan)}
        for i, number in enumerate(attacked)
    }
