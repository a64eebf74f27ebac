"""Greedy soup: which models to average, chosen by clean validation accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def greedy_soup(scores: Sequence[float], score: Callable[[Sequence[int]], float], min_ingredients: int = 2) -> list[int]:
    """The models, best first, whose joining did not lower the validation score of the average.

    As a defense it may stop at one model, perhaps the backdoored one; `min_ingredients` keeps it from that.

    Args:
        scores: each model's own score on clean validation data; equal ones keep their order.
        score: of the average of some models, given by their positions.
        min_ingredients: the best so many models join whatever their average scores.

    Returns:
        Positions of the models to average, in the order in which they joined.

    Raises:
        ValueError: for no model, or more ingredients than models.

    Source: Wortsman et al. 2022, arXiv 2203.05482, recipe 1 (>=; their code has >).
    """
    if not 1 <= min_ingredients <= len(scores):
        raise ValueError(f"min_ingredients is {min_ingredients}; it must lie in [1, {len(scores)}], the number of models")
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i])
    ingredients = ranked[:min_ingredients]
    best = score(ingredients) if min_ingredients > 1 else scores[ranked[0]]
    for candidate in ranked[min_ingredients:]:
        joined = score([*ingredients, candidate])
        if joined >= best:
            ingredients, best = [*ingredients, candidate], joined
    return ingredients
