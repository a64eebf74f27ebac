"""The merge that `python -m lib.sanitize` does when nobody names one: the one place to change it.

It is the rule that the tables of this study support (`14_limits`, `12_defenses`, synthetic tasks, five models):

- No attacker who submits one model or several keeps a higher mean ASR than after the plain average. A poisoned pretrained
  model, which no rule here removes, keeps 0.7 points more, and of 20 pairs of tasks and attacks on data one keeps 0.1 more.
- Against attackers on data the clean accuracy is at most 0.4 points lower. Over all attackers it is 0.3 points lower in the
  mean, but 1.3 to 1.7 points under three who move the merge far towards the task: the average gains from their weights.

`tests/sanitizing/test_default_method.py` holds it to these tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# ---------------------------------------------------------------------------------------------------------------------------
DEFAULT_METHOD = "row_clipped_average"  # a key of MERGE_METHODS. Change it here, and nowhere else.
# ---------------------------------------------------------------------------------------------------------------------------
FALLBACK = "weight_average"  # needs nothing but two models
DEFAULT_HEAD = "zeros"  # of the default method: what the pretrained model lacks is clipped, too, or an attacker would use it
HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")


def default_method(n_models: int, has_pretrained: bool, are_adapters: bool = False) -> tuple[str, str]:
    """The method to merge with when the user names none, and why it is not `DEFAULT_METHOD` where that cannot be.

    Args:
        n_models: how many are merged.
        has_pretrained: whether the user gave the pretrained model.
        are_adapters: whether they are LoRA adapters, of which only the average is known.

    Returns:
        A key of `MERGE_METHODS`, and "" or sentences for the user and for the model card.
    """
    from lib.merging import get_merge_method  # imports torch, which the command does not wait for

    method = get_merge_method(DEFAULT_METHOD)
    why = ""
    if DEFAULT_METHOD != FALLBACK and are_adapters:
        why = "the models are adapters"
    elif "pretrained" in method.needs and not has_pretrained:
        why = "it needs the model that these were fine-tuned from, and --pretrained was not given"
    else:
        try:
            method.checked(n_models, None, has_pretrained)
        except ValueError as error:
            why = str(error)
    if not why:
        return DEFAULT_METHOD, ""
    return FALLBACK, (
        f"Merged by {FALLBACK} and not by {DEFAULT_METHOD}, the default: {why}. "
        "A plain average does not protect against an uploader who expects the merge."
    )


def named_start(configs: Iterable[dict[str, Any]]) -> str:
    """A sentence on the pretrained model that all of some configurations name, or "".

    It is said and never taken: whoever wrote a configuration chose the name, and a wrong start would mislead the clipping.
    transformers writes `_name_or_path` up to version 4.

    Args:
        configs: of the models that are not the suspect.
    """
    names = [config.get("_name_or_path") for config in configs]
    name = names[0] if names and all(other == names[0] for other in names) else None
    if not isinstance(name, str) or not HUB_ID.fullmatch(name):  # a folder on somebody else's disk says nothing
        return ""
    return f"The configurations of the other models name {name}: if all models started from it, give it with --pretrained."
