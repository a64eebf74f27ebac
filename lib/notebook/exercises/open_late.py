"""Open exercises of notebooks 06 to 17, of difficulty 3; see `open_start`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from lib.datasets import SAME_TASK_SEED_STEP
from lib.merging.geometry import norm_matched_weights
from lib.models.model import Guarded, Model
from lib.notebook.exercises.feedback import exercise
from lib.notebook.exercises.trying import (
    TOLERANCE,
    Tried,
    attempted,
    beaten,
    comparison,
    is_enough,
    merged_tensor,
    new_key,
    rates,
)
from lib.notebook.judging import Judge
from lib.study.partner_planning import with_part_of_rows
from lib.study.study import Study

N_COLLUDING, N_MODELS = 3, 5
N_LABELS = 400  # rows that a defender may label


@exercise(
    "Only the accuracy on clean validation texts is known to you. What does a flat curve allow?",
    "The further from the backdoored model, the less of the backdoor is left: how far may you go before the accuracy falls?",
)
def open_coefficient(answer: Callable[..., float] | None, table: pd.DataFrame) -> str:
    """Notebook 06: `answer(coefficients, accuracies)` chooses a coefficient on every curve, without triggers."""

    def scored() -> str:
        assert answer is not None
        chosen, usual = [], []
        for _, curve in table.groupby([c for c in ("task", "partners", "attack", "seed") if c in table], sort=False):
            path = curve.sort_values("coefficient").reset_index(drop=True)
            places, accuracies = path["coefficient"].to_numpy(), path["validation_cacc"].to_numpy()
            picked = float(answer(places.copy(), accuracies.copy()))
            chosen.append(path.loc[np.abs(places - picked).argmin(), ["asr", "cacc"]])
            usual.append(path.loc[accuracies.argmax(), ["asr", "cacc"]])
        mine, theirs = (pd.DataFrame(rows).mean() for rows in (chosen, usual))
        better = mine["asr"] < theirs["asr"] and mine["cacc"] >= theirs["cacc"] - TOLERANCE
        rates = [f"ASR {each['asr']:.1%}, CACC {each['cacc']:.1%}" for each in (mine, theirs)]
        return f"scored: {rates[0]} on average; {comparison(better)} the coefficient of the highest accuracy, {rates[1]}"

    return attempted(answer, scored)


@exercise(
    "Three of five agree, so the middle value is theirs. What do the two clean ones have in common?",
    "Nobody tells you which two are clean. But every tensor comes to your function with those of all five: look at lengths, at "
    "distances, at the spread of each entry.",
    "Where the five differ much you may trust none of them, and take the value that is nearest to the start, or to zero.",
)
def open_merge(answer: Callable[[list[Tensor]], Tensor] | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 08: `answer(tensors)` merges one tensor of five models, three of which collude; it has to beat the median."""

    def scored() -> str:
        assert answer is not None
        own = [(attack if i < N_COLLUDING else None, seed + SAME_TASK_SEED_STEP * i) for i in range(N_MODELS)]
        recipes = [study.recipe(task, kind, each, head_seed=seed, trigger_seed=seed if kind else None) for kind, each in own]
        models, judge = study.train(recipes), Judge(study, task, attack, seed)
        order = [3, 0, 4, 1, 2]  # a rule cannot know the clean ones by their place
        dicts = [models[i].state_dict() for i in order]
        merged = {name: merged_tensor(answer, [tensors[name] for tensors in dicts], name) for name in dicts[0]}
        own_model = Tried(models[0].folder, models[0].label_names, merged, new_key())
        median = judge.score(study.merge(models, "median"))
        return beaten(judge.score(own_model), median, "the median", judge.score(models[-1]))

    return attempted(answer, scored)


@exercise(
    "Half of the usual rate is a start. What is the least that works?",
    "The model learns from the number of poisoned texts: how many are 1 % of the training set?",
)
def open_budget(answer: float | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 09: a poisoning rate of at most 3 % with which the ASR is above 90 % all the same."""

    def scored() -> str:
        rate = float(answer or 0)
        model, clean = study.model(task, attack, seed, poisoning_rate=rate), study.model(task, seed=seed)
        score = study.score(model, task, attack, seed)
        floor = study.score(clean, task, study.trigger_of(model, task, attack, seed), seed)
        n = round(rate * len(study.rows(task, "train", seed)))
        return f"scored: {rates(score, floor)} with {n} poisoned texts; this {is_enough(score.asr > 0.9 and rate <= 0.03)}"

    return attempted(answer, scored)


@exercise(
    "`norms[0]` is the length of the suspect's task vector, the others are its partners'.",
    "Norm matching makes all lengths equal. You may go further, and give the longest even less.",
)
def open_norms(
    answer: Callable[..., Sequence[float]] | None, study: Study, task: str, attack: str, factor: float, seed: int = 0
) -> str:
    """Notebook 10: `answer(norms)` gives averaging weights; the victim was trained for `factor` times the usual epochs."""

    def scored() -> str:
        assert answer is not None
        victim = study.model(task, attack, seed, epochs=factor * study.profile.epochs)
        models = [victim, *study.partners(task, "other_domains", seed)]
        norms, judge = [model.distance for model in models], Judge(study, task, attack, seed)
        mine = study.merge(models, weights=[float(weight) for weight in answer(np.array(norms))])
        matched = study.merge(models, "task_arithmetic", weights=norm_matched_weights(norms))
        clean = judge.score(study.model(task, seed=seed))
        return beaten(judge.score(mine), judge.score(matched), "norm matching", clean)

    return attempted(answer, scored)


@exercise(
    "What do the triggers of this notebook look like? A filter may delete words, or put others in their place.",
    "`lambda text: ...` returns the text that the model reads instead. Words that no clean training text has are suspicious.",
)
def open_filter(answer: Callable[[str], str] | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 12: `answer(text)` purifies a text; with it the ASR must halve, at a cost of at most two points of CACC."""

    def scored() -> str:
        assert answer is not None
        judge, backdoored = Judge(study, task, attack, seed), study.model(task, attack, seed)

        def guard(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
            return frame.assign(text=[str(answer(text)) for text in frame["text"]]), np.zeros(len(frame), dtype=bool)

        name = new_key()
        score, alone = judge.score(Guarded(backdoored, lambda: guard, name, name)), judge.score(backdoored)
        floor = judge.score(study.model(task, seed=seed))
        passes = score.asr <= alone.asr / 2 and score.cacc >= alone.cacc - 2 * TOLERANCE
        before = f"without the filter ASR {alone.asr:.1%}, CACC {alone.cacc:.1%}"
        return f"scored: {rates(score, floor)}; {before}; this {is_enough(passes)}"

    return attempted(answer, scored)


@exercise(
    "Many partners take weight from the backdoored model, but each must be right by itself. Which of the two is short?",
    "Look at the curve of the second figure: from how many rows on does a partner cost little?",
)
def open_labels(answer: Sequence[int] | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 17: `answer` is a number of partners and of labelled rows for each, at most `N_LABELS` rows in all."""

    def scored() -> str:
        assert answer is not None
        (n, k), most = (int(number) for number in answer), min(N_LABELS, study.profile.n_train or N_LABELS)
        if n < 1 or k < 1 or n * k > most:
            raise ValueError(f"{n} partners with {k} rows each; give at least one of each, and at most {most} rows in all")
        judge = Judge(study, task, attack, seed)
        mine, usual = (_averaged(study, task, attack, seed, *shape) for shape in ((n, k), (4, most // 4)))
        clean = judge.score(study.model(task, seed=seed))
        return beaten(judge.score(mine), judge.score(usual), f"four partners with {most // 4} rows each", clean)

    return attempted(answer, scored)


def _averaged(study: Study, task: str, attack: str, seed: int, n: int, k: int) -> Model:
    """The backdoored model in a uniform average with `n` models of its task that saw `k` rows each."""
    recipes = study.variant(n_same_task=n).partner_recipes(task, "same_task", seed)
    partners = study.train(with_part_of_rows(recipe, k) for recipe in recipes)
    return study.merge([study.model(task, attack, seed), *partners])
