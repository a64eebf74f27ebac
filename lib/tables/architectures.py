"""Tables of notebook 11: the same attack and merge with other pretrained models, with adapters, and with other heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.metrics.summary import points
from lib.study.entries import parse_entry
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.study import Study
from lib.tables.merging import averages, n_averages
from lib.tables.rows import Needed, backdoored_recipes, cases_of, declares, progress

# A partner's own head is drawn with a seed that no other model of the study has.
HEAD_SEED_STEP = 10_000
# The fields of a profile that make a recipe of fine-tuning.
RECIPE = ("learning_rate", "epochs", "batch_size", "warmup_ratio", "weight_decay", "max_grad_norm")


def parse_architecture(text: str) -> dict[str, Any]:
    """The fields of a profile that an entry of its `architectures` replaces: a pretrained model, then field=value.

    Raises:
        ValueError: for an empty entry, or a word after the first that is no field=value.

    >>> parse_architecture("pocket-llama lora_rank=8")
    {'pretrained': 'pocket-llama', 'lora_rank': 8}
    """
    pretrained, fields = parse_entry(text, "gpt2 lora_rank=8")
    return {"pretrained": pretrained} | fields


def architecture_name(text: str) -> str:
    """How figures write an entry: the last part of the model's name, and its adapters.

    >>> architecture_name("meta-llama/Llama-2-7b-hf lora_rank=16 learning_rate=2e-4")
    'Llama-2-7b-hf, LoRA 16'
    """
    fields = parse_architecture(text)
    name = fields["pretrained"].rstrip("/").split("/")[-1]
    return f"{name}, LoRA {fields['lora_rank']}" if fields.get("lora_rank") else name


def recipe_of(text: str) -> str:
    """Whether an entry trains by the profile's recipe ("common") or names one of its own ("tuned").

    The rate of adapters is one of its own, too.

    >>> [recipe_of(text) for text in ("pocket-bert", "pocket-bert learning_rate=1e-3", "gpt2 lora_rank=8")]
    ['common', 'tuned', 'common']
    """
    return "tuned" if set(RECIPE) & set(parse_architecture(text)) else "common"


def _architectures_needed(planner: Planner, task: str, attacks: Sequence[str], architectures: Sequence[str]) -> Needed:
    needed = Needed()
    for text in architectures:
        variant = planner.variant(**parse_architecture(text))
        cases = cases_of(variant, [task], attacks)
        n_merges = len(cases) * n_averages(len(variant.other_domains(task)))
        needed += Needed(backdoored_recipes(variant, cases, ["other_domains"]), n_merges)
    return needed


@declares(_architectures_needed)
def architectures_table(study: Study, task: str, attacks: Sequence[str], architectures: Sequence[str]) -> pd.DataFrame:
    """Table `11_architectures`: for each pretrained model, victims averaged with 0, 1, 2, ... models of other domains.

    `recipe` says whether an entry was trained by the recipe that all share. Sizes may be compared within one recipe only.
    """
    rows: list[dict[str, Any]] = []
    for text in architectures:
        variant = study.variant(**parse_architecture(text))
        for case in progress(cases_of(variant.planner, [task], attacks)):
            _, attack, seed = case
            backdoored, others = variant.model(*case), variant.partners(task, "other_domains", seed)
            what: dict[str, Any] = {"task": task, "attack": attack, "architecture": architecture_name(text)}
            what |= {"recipe": recipe_of(text), "model_type": backdoored.config["model_type"]}
            what |= {field: getattr(variant.profile, field) for field in ("lora_rank", "learning_rate", "epochs")}
            what["n_parameters"] = sum(info.n_entries for info in backdoored.source().tensors.values())
            rows += averages(variant, case, backdoored, others, what)
    return pd.DataFrame(rows)


def size_findings(table: pd.DataFrame) -> Iterator[str]:
    """A sentence for each recipe and family of which table `11_architectures` has several sizes, all weights trained."""
    whole = table[table["lora_rank"] == 0]
    for (recipe, family), rows in whole.groupby(["recipe", "model_type"], sort=False):
        sizes = rows.groupby("n_parameters")[["backdoored_asr", "asr_floor", "clean_model_cacc"]].mean()
        if len(sizes) < 2:
            continue
        last = rows[rows["n_models"] == rows.groupby("n_parameters")["n_models"].transform("max")]
        merged = last.groupby("n_parameters")[["asr", "asr_rise", "cacc", "cacc_change_vs_clean"]].mean()
        listed = "; ".join(
            f"{n / 1e6:.2f} million: ASR {sizes.backdoored_asr[n]:.1%} to {row.asr:.1%} ({points(row.asr_rise)} above its own "
            f"rate), CACC {row.cacc:.1%}, {points(row.cacc_change_vs_clean)} from a clean model"
            for n, row in merged.iterrows()
        )
        yield f"Sizes of {family} by the {recipe} recipe, in weights: {listed}."
    if not any(len(set(rows["n_parameters"])) > 1 for _, rows in whole.groupby(["recipe", "model_type"])):
        yield "No family has several sizes that were trained by one recipe: nothing is said about size."


def _heads_needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    cases = cases_of(planner, [task], attacks)
    models = backdoored_recipes(planner, cases, ["other_domains"])
    models += [recipe for seed in planner.seeds for recipe in _with_own_heads(planner, task, seed)]
    return Needed(models, n_merges=2 * len(cases) * n_averages(len(planner.other_domains(task))))


def _with_own_heads(planner: Planner, task: str, seed: int) -> list[ModelRecipe]:
    return [
        planner.recipe(domain, seed=seed, head_seed=seed + HEAD_SEED_STEP * (1 + number))
        for number, domain in enumerate(planner.other_domains(task))
    ]


@declares(_heads_needed)
def heads_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `11_heads`: partners that started from the victim's classification head ("shared"), or each from its own ("own").

    The weights are averaged head and all.
    """
    rows: list[dict[str, Any]] = []
    for case in progress(cases_of(study.planner, [task], attacks)):
        _, attack, seed = case
        strangers = study.train(_with_own_heads(study.planner, task, seed))
        for heads, others in {"shared": study.partners(task, "other_domains", seed), "own": strangers}.items():
            what = {"task": task, "attack": attack, "heads": heads}
            rows += averages(study, case, study.model(*case), others, what)
    return pd.DataFrame(rows)
