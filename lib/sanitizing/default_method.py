"""The merge that `python -m lib.sanitize` does when nobody names one: the one place to change it."""

from __future__ import annotations

# ---------------------------------------------------------------------------------------------------------------------------
DEFAULT_METHOD = "weight_average"  # a key of MERGE_METHODS. Change it here, and nowhere else.
# ---------------------------------------------------------------------------------------------------------------------------
FALLBACK = "weight_average"  # needs nothing but two models


def default_method(n_models: int, has_pretrained: bool, are_adapters: bool = False) -> tuple[str, str]:
    """The method to merge with when the user names none, and why it is not `DEFAULT_METHOD` where that cannot be.

    Args:
        n_models: how many are merged.
        has_pretrained: whether the user gave the pretrained model.
        are_adapters: whether they are LoRA adapters, of which only the average is known.

    Returns:
        A key of `MERGE_METHODS`, and "" or a sentence for the user and for the model card.
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
    return (FALLBACK, f"Merged by {FALLBACK} and not by {DEFAULT_METHOD}, the default: {why}.") if why else (DEFAULT_METHOD, "")
