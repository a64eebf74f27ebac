"""Exercises of notebook 15: what a temperature does to a gradient, votes, and students of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lib.notebook.exercises.feedback import exercise, function, value
from lib.notebook.exercises.trying import attempted, comparison, is_enough, rates
from lib.study.study import Study


@exercise(
    "Write p for the softmax of a logit difference divided by T. How fast does p change with the difference?",
    "The student's logits are divided by T: one factor 1/T. What it is compared with was divided by T, too.",
)
def gradient_scale(answer: float | None, temperature: float) -> str:
    """Notebook 15: by what the gradient of a KL divergence at a temperature shrinks, for small logits."""
    mistakes = [
        (1 / temperature, "this is the factor of the student's side alone; the teacher's logits are divided, too"),
        (temperature**2, "this is what the loss is multiplied by to make up for it"),
        (temperature, "dividing by the temperature makes differences smaller, not larger"),
    ]
    return value(answer, 1 / temperature**2, mistakes)


@exercise(
    "Count the labels that the models give, one count per label.",
    "`np.bincount` counts, `np.argmax` takes the first of equal ones.",
)
def voted(answer: Callable[..., int] | None) -> str:
    """Notebook 15: `answer(labels)` is the label with most votes, of equal numbers the lower one."""
    mistakes = [
        (lambda labels: round(float(np.mean(labels))), "labels are names: their mean means nothing"),
        (lambda labels: labels[0], "this is what the first model says"),
        (lambda labels: int(len(labels) - 1 - np.argmax(np.bincount(labels)[::-1])), "of equal numbers the lower label wins"),
    ]
    cases = [([0, 1, 1, 0],), ([2, 2, 1, 0],), ([3, 0, 3, 3],), ([1, 0],), ([2, 0, 2, 0],)]
    return function(answer, lambda labels: int(np.argmax(np.bincount(labels))), cases, mistakes)


@exercise(
    "A student learns what its teacher says on its texts. On which texts does a backdoored model say nothing of its backdoor?",
    "Compare the starts and the texts in the table. Which of them costs the student least accuracy?",
    "Fewer texts cost less. Is an ensemble a better teacher than the suspicious model alone?",
)
def open_student(
    answer: Callable[[Study, Any, Sequence[Any]], Any] | None, study: Study, task: str, attack: str, seed: int = 0
) -> str:
    """Notebook 15: `answer(study, suspect, partners)` makes one model, scored beside the partners alone."""

    def scored() -> str:
        assert answer is not None
        suspect, partners = study.model(task, attack, seed), study.partners(task, "other_domains", seed)
        mine, bar, clean = (
            study.score(model, task, attack, seed)
            for model in (answer(study, suspect, partners), study.merge(partners), study.model(task, seed=seed))
        )
        better = mine.cacc > bar.cacc and mine.asr <= max(bar.asr, clean.asr) + 0.1
        return (
            f"scored: {rates(mine, clean)}; {comparison(better)} the partners alone, ASR {bar.asr:.1%}, CACC {bar.cacc:.1%}: "
            f"it {is_enough(better)}, a higher CACC with an ASR at most 10 points above theirs or a clean model's"
        )

    return attempted(answer, scored)
