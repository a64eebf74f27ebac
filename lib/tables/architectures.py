"""Tables of notebook 11: the same attack and merge with other pretrained models, with adapters, and with other heads."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lib.profiles import parse_value
from lib.study.study import Study
from lib.tables.merging import averages
from lib.tables.rows import progress, train_victims

# A partner's own head is drawn with a seed that no other model of the study has.
HEAD_SEED_STEP = 10_000


def parse_architecture(text: str) -> dict[str, Any]:
    """The fields of a profile that an entry of its `architectures` replaces: a pretrained model, then field=value.

    Raises:
        ValueError: for an empty entry, or a word after the first that is no field=value.

    >>> parse_architecture("pocket-llama lora_rank=8")
    {'pretrained': 'pocket-llama', 'lora_rank': 8}
    """
    pretrained, *settings = shlex.split(text) or [""]
    if not pretrained or "=" in pretrained or not all("=" in setting for setting in settings):
        raise ValueError(f"architecture {text!r} is not a pretrained model followed by field=value, such as 'gpt2 lora_rank=8'")
    pairs = dict(setting.split("=", 1) for setting in settings)
    return {"pretrained": pretrained, **{name: parse_value(value) for name, value in pairs.items()}}


def architecture_name(text: str) -> str:
    """How figures write an entry: the last part of the model's name, and its adapters.

    >>> architecture_name("meta-llama/Llama-2-7b-hf lora_rank=16 learning_rate=2e-4")
    'Llama-2-7b-hf, LoRA 16'
    """
    fields = parse_architecture(text)
    name = fields["pretrained"].rstrip("/").split("/")[-1]
    return f"{name}, LoRA {fields['lora_rank']}" if fields.get("lora_rank") else name


def architectures_table(study: Study, task: str, attacks: Sequence[str], architectures: Sequence[str]) -> pd.DataFrame:
    """Table `11_architectures`: for each pretrained model, victims averaged with 0, 1, 2, ... models of other domains."""
    rows: list[dict[str, Any]] = []
    for text in architectures:
        variant = study.variant(**parse_architecture(text))
        cases = [(task, attack, seed) for seed in variant.seeds for attack in attacks]
        train_victims(variant, cases, ["other_domains"])
        for _, attack, seed in progress(cases):
            backdoored, others = variant.model(task, attack, seed), variant.partners(task, "other_domains", seed)
            what = {"task": task, "attack": attack, "architecture": architecture_name(text), "seed": seed}
            what |= {"lora_rank": variant.profile.lora_rank, "learning_rate": variant.profile.learning_rate}
            what["n_parameters"] = sum(tensor.numel() for tensor in backdoored.state_dict().values())
            rows += [what | row for row in averages(variant, (task, attack, seed), backdoored, others)]
    return pd.DataFrame(rows)


def heads_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `11_heads`: partners that started from the victim's classification head ("shared"), or each from its own ("own").

    The weights are averaged head and all.
    """
    cases = [(task, attack, seed) for seed in study.seeds for attack in attacks]
    train_victims(study, cases, ["other_domains"])
    strangers = {
        seed: [
            study.recipe(domain, seed=seed, head_seed=seed + HEAD_SEED_STEP * (1 + number))
            for number, domain in enumerate(study.other_domains(task))
        ]
        for seed in study.seeds
    }
    study.train(recipe for recipes in strangers.values() for recipe in recipes)  # in parallel, and not one by one below
    rows: list[dict[str, Any]] = []
    for _, attack, seed in progress(cases):
        kinds = {"shared": study.partners(task, "other_domains", seed), "own": study.train(strangers[seed])}
        for heads, others in kinds.items():
            what = {"task": task, "attack": attack, "heads": heads, "seed": seed}
            backdoored = study.model(task, attack, seed)
            rows += [what | row for row in averages(study, (task, attack, seed), backdoored, others)]
    return pd.DataFrame(rows)
