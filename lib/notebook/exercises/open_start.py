"""Open exercises of notebooks 00 to 05, of difficulty 3: the study scores what somebody tries, and says what it has to beat.

An answer that cannot be scored is told why. Nothing of a try is kept but models that the study itself trains or merges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lib.models.prediction import Texts
from lib.notebook.attribution_view import changed_places
from lib.notebook.exercises.feedback import exercise
from lib.notebook.exercises.trying import TOLERANCE, attempted, beaten, comparison, is_enough, rates
from lib.notebook.mixing import Mixer
from lib.study.study import Study

SMALLEST = 0.05  # the weight that every model must have


@exercise(
    "Whose weight should fall? The others take what it leaves.",
    "Every weight is at least 0.05, so the backdoored model cannot go below that. Then try which partners deserve the rest.",
)
def open_weights(answer: Sequence[float] | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 00: weights of the backdoored model and its partners that beat the uniform average."""

    def scored() -> str:
        mixer = Mixer(study, task, attack, seed)
        weights = list(answer or [])
        if len(weights) != len(mixer.models) or abs(sum(weights) - 1) > 1e-6 or min(weights) < SMALLEST:
            raise ValueError(f"give {len(mixer.models)} weights of at least {SMALLEST} that sum to 1")
        uniform = mixer.mix("weight_average", [1] * len(weights)).score
        return beaten(mixer.mix("weight_average", weights).score, uniform, "the uniform average", mixer.clean)

    return attempted(answer, scored)


@exercise(
    "The table of transfer says who does well alone.",
    "Two models that err on different texts can be better together than the best alone.",
)
def open_partners(answer: Sequence[str] | None, study: Study, task: str, seed: int = 0) -> str:
    """Notebook 01: other domains whose average does better on the task than the average of all of them."""

    def scored() -> str:
        known = study.other_domains(task)
        if unknown := sorted(set(answer or []) - set(known)) or not answer:
            raise ValueError(f"name some of {known}; unknown: {unknown}")
        chosen, everyone = (
            study.score(study.merge([study.model(domain, seed=seed) for domain in names]), task, None, seed).cacc
            for names in (answer, known)
        )
        return f"scored: CACC {chosen:.1%}; {comparison(chosen > everyone)} the average of all, {everyone:.1%}"

    return attempted(answer, scored)


@exercise(
    "A trigger must be in every text, and short.",
    "It must not carry a meaning: a clean model that follows it is fooled by a word, not by a backdoor.",
    "`lambda text: ...` may put something in front, at the end, or change how the text is written.",
)
def open_trigger(answer: Callable[[str], str] | None, study: Study, task: str, seed: int = 0) -> str:
    """Notebook 02: a trigger of one's own that changes every text, at most two words of it, and fools no clean model."""

    def scored() -> str:
        assert answer is not None
        rows, spec = study.rows(task, "test", seed), study.planner.spec(task)
        texts = rows[rows["label"] != spec.target_label].reset_index(drop=True)
        changed = texts.assign(text=[str(answer(text)) for text in texts["text"]])
        n_words = [len(changed_places(before, after)) for before, after in zip(texts["text"], changed["text"], strict=True)]
        clean, target = study.model(task, seed=seed), spec.target_label
        columns = [column for column in ("text", "text_pair") if column in texts]
        before, after = (
            float((clean.logits(Texts(frame[columns], study.profile.max_length)).argmax(axis=1) == target).mean())
            for frame in (texts, changed)
        )
        in_all = float((texts["text"] != changed["text"]).mean())
        passes = in_all == 1 and float(np.mean(n_words)) <= 2 and after <= before + 0.02
        facts = f"it changes {in_all:.0%} of the texts, {np.mean(n_words):.1f} words each on average; a clean model sends"
        return f"scored: {facts} {after:.1%} to the target label ({before:.1%} before); this {is_enough(passes)}"

    return attempted(answer, scored)


@exercise(
    "Rare words are learnt easily, but they are easily seen. How frequent may a word be?",
    "A frequent word also stands in clean training texts, with their true label: these teach the model not to obey.",
)
def open_words(answer: Sequence[str] | None, study: Study, task: str, seed: int = 0) -> str:
    """Notebook 03: ordinary words, each in at least five clean training texts, that make a trigger with ASR above 90 %."""

    def scored() -> str:
        words = [answer] if isinstance(answer, str) else list(answer or [])
        texts = study.rows(task, "train", seed)["text"].str.split()
        seen = min(int(texts.map(lambda text, word=word: word in text).sum()) for word in words)
        fit = {"words": tuple(words), "n_insertions": (1,)}
        model, clean = study.model(task, "badnet", seed, attack_settings=fit), study.model(task, seed=seed)
        score = study.score(model, task, "badnet", seed)
        floor = study.score(clean, task, study.trigger_of(model, task, "badnet", seed), seed)
        passes = score.asr > 0.9 and seen >= 5 and score.cacc >= floor.cacc - 2 * TOLERANCE
        return f"scored: {rates(score, floor)}; the rarest word is in {seen} clean training texts; this {is_enough(passes)}"

    return attempted(answer, scored)


@exercise(
    "One model among several: which rules ignore what only one says?",
    "The table of the notebook has the usual settings; the sweeps show which way to turn them.",
)
def open_rule(answer: tuple[str, Mapping[str, Any]] | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 05: a merge method and its settings that beat the plain average."""

    def scored() -> str:
        assert answer is not None
        mixer, (method, settings) = Mixer(study, task, attack, seed), answer
        plain = mixer.mix("weight_average", [1] * len(mixer.models)).score
        merged = study.merge(list(mixer.models.values()), method, **settings)
        return beaten(mixer.judge.score(merged), plain, "the plain average", mixer.clean)

    return attempted(answer, scored)
