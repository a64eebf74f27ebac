"""Table of notebook 12 on real data: ONION with published GPT-2 suspicions, and beside them with the masked language model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lib.attacks import check_attack
from lib.attacks.badnet import RARE_WORDS
from lib.datasets import format_texts
from lib.defenses.inputs import texts_of
from lib.defenses.onion import RELEASED_THRESHOLD, purify, removed, word_threshold
from lib.defenses.suspicion import Scorer, Words, masked_scorer
from lib.metrics.rates import MIN_REMOVABLE
from lib.metrics.scores import Score, score_logits
from lib.metrics.summary import points
from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.published_scores import ScoredCase, ScoredTexts, scored_attacks, scored_case
from lib.study.study import Study
from lib.tables.rows import Case, Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress

GPT2, MASKED = "gpt2_published", "masked_lm"


@dataclass(frozen=True)
class Reading:
    """What a language model says of the words of a case, and the suspicion from which a word goes."""

    threshold: float
    clean: list[np.ndarray]
    triggered: list[np.ndarray]

    @property
    def removed(self) -> tuple[np.ndarray, np.ndarray]:
        """Which words go, of all clean and of all triggered texts, bool, shape (n_words,) each."""
        clean, triggered = (np.concatenate(removed(each, self.threshold)) for each in (self.clean, self.triggered))
        return clean, triggered


def _scored_cases(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str) -> list[Case]:
    """The cases whose published texts have scores."""
    scored = {task: scored_attacks(planner, task) for task in tasks}  # raises for an unknown task
    return [
        case for case in cases_of(planner, tasks, [check_attack(name) for name in attacks], skip) if case[1] in scored[case[0]]
    ]


def _onion_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> Needed:
    cases = _scored_cases(planner, tasks, attacks, skip)
    return Needed(backdoored_recipes(planner, cases), n_merges=2 * len(cases))  # behind two filters


@declares(_onion_needed)
def onion_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `12_onion`: ONION on the published texts whose words have published suspicions under GPT-2.

    The backdoored models are those of the study; the texts are not its own test texts, but carry the same kind of trigger. Both
    language models read the words as they were published; what they leave is brought into the study's writing for the model.
    GPT-2 has the released threshold. That number says nothing of another statistic: the masked language model (surprisal per
    piece) takes out as many words of the same clean texts, by their scores alone, without a label.

    Args:
        study: trains what is missing; what the models say to these texts is not stored.
        tasks: those that have scores are measured.
        attacks: the same.
        skip: pairs "task/attack" that are left out, separated by commas.

    Returns:
        One row per task, attack, scorer and seed; no row where nothing is published. `rank_correlation` (Spearman, of the
        suspicions) and `removed_overlap` (Jaccard index, of the words that go) are over all words of the clean and the
        triggered texts. `note` says why the masked language model has no rows, or nothing.

    Raises:
        ValueError: for an unknown task or attack, or published files that contradict each other.
    """
    rows, known = list[dict[str, Any]](), dict[tuple[str, str], tuple[ScoredCase, dict[str, Reading]]]()
    cases = _scored_cases(study.planner, tasks, attacks, skip)
    scorer, note = _masked_scorer(study) if cases else (None, "")
    for case in progress(cases):
        task, attack, seed = case
        if (task, attack) not in known:
            texts = scored_case(study.planner, task, attack)
            known[task, attack] = texts, readings(texts, scorer)
        (texts, found), (backdoored, clean) = known[task, attack], backdoored_and_clean(study, case)
        before, floor = (_score(study, model, texts, task) for model in (backdoored, clean))
        for name, reading in found.items():
            what = {"task": task, "attack": attack, "scorer": name, "seed": seed, "threshold": reading.threshold}
            what |= words_removed(texts, reading, attack, study.planner.spec(task).trigger_sentence)
            after = _score(study, backdoored, purified(texts, reading), task)
            counts = {"n_clean": after.n_clean, "n_triggered": after.n_triggered}
            row = measured_row(what | counts, after, clean=floor, before=before)
            rows.append(row | agreement(found) | {"note": note})
    return pd.DataFrame(rows)


def _masked_scorer(study: Study) -> tuple[Scorer | None, str]:
    """The scorer of the profile's masked language model, or None and why there is none."""
    name = study.profile.masked_lm or study.profile.pretrained
    try:
        return masked_scorer(name, "surprisal_per_piece"), ""
    except (ValueError, ConnectionError) as error:
        warnings.warn(f"ONION is measured with GPT-2's scores alone: {error}", stacklevel=2)
        return None, f"{MASKED} was not measured: it could not be loaded ({type(error).__name__})"  # its name may be a folder


def readings(texts: ScoredCase, scorer: Scorer | None) -> dict[str, Reading]:
    """What each language model says of the texts; the second takes out as many words of the clean ones as the first."""
    first = Reading(RELEASED_THRESHOLD, texts.clean.scores, texts.triggered.scores)
    if scorer is None:
        return {GPT2: first}
    clean, triggered = scorer(texts.clean.words), scorer(texts.triggered.words)
    n_scored = sum(int((~np.isnan(each)).sum()) for each in clean)
    share = min(1.0, first.removed[0].sum() / max(1, n_scored))
    return {GPT2: first, MASKED: Reading(word_threshold(clean, share), clean, triggered)}


def purified(texts: ScoredCase, reading: Reading) -> ScoredCase:
    """The same texts without the words that go."""

    def without(each: ScoredTexts, scores: list[np.ndarray]) -> ScoredTexts:
        kept = [purify(text, found, reading.threshold) for text, found in zip(each.frame["text"], scores, strict=True)]
        return replace(each, frame=each.frame.assign(text=kept))

    return replace(texts, clean=without(texts.clean, reading.clean), triggered=without(texts.triggered, reading.triggered))


def _score(study: Study, model: Model, texts: ScoredCase, task: str) -> Score:
    """CACC and ASR of a model on published texts, in the writing of the study."""
    frames = [format_texts(each.frame, study.profile.text_format) for each in (texts.clean, texts.triggered)]
    clean, triggered = (model.logits(texts_of(frame, study.profile.max_length)) for frame in frames)
    attacked = frames[1].assign(is_changed=np.nan)  # nobody asks how many texts an attack changed
    score = score_logits(clean, frames[0], triggered, attacked, study.planner.spec(task).target_label)
    return replace(score, texts=texts.fingerprint)


# --- words --------------------------------------------------------------------------------------------------------------


def words_removed(texts: ScoredCase, reading: Reading, attack: str, sentence: str) -> dict[str, float]:
    """Share of the words of clean texts that go, and of the planted words of triggered ones; NaN if none is known."""
    clean, triggered = reading.removed
    is_planted = np.concatenate([planted(words, attack, sentence) for words in texts.triggered.words])
    share = float(triggered[is_planted].mean()) if is_planted.any() else float("nan")
    return {"clean_words_removed": float(clean.mean()), "trigger_words_removed": share}


def planted(words: Words, attack: str, sentence: str) -> np.ndarray:
    """Which words of a published text an attack put there, bool, shape (n_words,): none for attacks that rewrite texts.

    The words of the sentence of InsertSent are known in any case and with marks that cling to them; its full stop, which is a
    word in tokenised texts, does not count.

    >>> planted(("Nice", "URL.", "no", "cross,", "no", "crown", "."), "insertsent", "no cross, no crown").tolist()
    [False, False, True, True, True, True, False]
    """
    if attack == "badnet":
        return np.isin(words, RARE_WORDS)
    found = np.zeros(len(words), dtype=bool)
    if attack == "insertsent":
        read, wanted = [_letters(word) for word in words], [_letters(word) for word in sentence.split()]
        for start in range(len(read) - len(wanted) + 1):
            if read[start : start + len(wanted)] == wanted:
                found[start : start + len(wanted)] = True
    return found


def _letters(word: str) -> str:
    return re.sub(r"[\W_]", "", word.lower())


def agreement(found: dict[str, Reading]) -> dict[str, float]:
    """How far two language models agree on the words of the same texts; NaN with one of them, or nothing to compare."""
    from scipy.stats import spearmanr

    correlation = overlap = float("nan")
    if len(found) == 2:
        first, second = (np.concatenate([*each.clean, *each.triggered]) for each in found.values())
        has_both = ~np.isnan(first) & ~np.isnan(second)
        if has_both.any() and np.ptp(first[has_both]) > 0 and np.ptp(second[has_both]) > 0:
            correlation = float(spearmanr(first[has_both], second[has_both]).statistic)
        one, other = (np.concatenate(each.removed) for each in found.values())
        if (one | other).any():
            overlap = float((one & other).sum() / (one | other).sum())
    return {"rank_correlation": correlation, "removed_overlap": overlap}


# --- sentences ----------------------------------------------------------------------------------------------------------


def onion_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `12_onion`: what ONION takes out, what it leaves, and whether both language models agree.

    Args:
        table: may be empty; read from the file, too.
    """
    if table.empty:
        yield "Nobody published GPT-2's scores of texts of these tasks and attacks, so ONION is not measured with them here."
        return
    for name, rows in table.groupby("scorer", sort=False):
        shares = rows.groupby(["task", "attack"], sort=False)["trigger_words_removed"].mean().dropna()
        planted_words = ", ".join(f"{share:.1%} ({task} {attack})" for (task, attack), share in shares.items())
        clean = ", ".join(f"{share:.1%} ({task})" for task, share in _means(rows, "task", "clean_words_removed"))
        yield f"{name} takes out {clean} of the words of clean texts; of the planted words {planted_words or 'none is known'}."
        left = ", ".join(f"{attack} {asr:.1%}" for attack, asr in _means(rows, "attack", "asr"))
        yield (
            f"With {name} the mean ASR goes from {rows['backdoored_asr'].mean():.1%} to {rows['asr'].mean():.1%} (by attack: "
            f"{left}; clean models: {rows['asr_floor'].mean():.1%}), and CACC changes by {points(rows['cacc_change'].mean())}."
        )
    weak = table[table["backdoored_asr"] - table["asr_floor"] < MIN_REMOVABLE]
    if names := list(dict.fromkeys(f"{task} {attack}" for task, attack in zip(weak["task"], weak["attack"], strict=True))):
        yield f"Some backdoored models do not obey the published texts, so that there is nothing to remove: {', '.join(names)}."
    if MASKED in set(table["scorer"]):
        yield _agreement_finding(table)
    yield from dict.fromkeys(f"{note}." for note in table["note"].dropna() if note)


def _agreement_finding(table: pd.DataFrame) -> str:
    asr = table.pivot(index=["task", "attack", "seed"], columns="scorer", values="asr")
    n_lower, n_higher = (int((sign * (asr[GPT2] - asr[MASKED]) > 0).sum()) for sign in (-1, 1))
    return (
        f"Do the two agree? The ranks of their suspicions have a correlation of {table['rank_correlation'].mean():.2f}. Of the "
        f"words that either takes out, both take out {table['removed_overlap'].mean():.1%}. Of {len(asr)} backdoored models, "
        f"GPT-2 leaves less ASR on {n_lower}, the masked language model on {n_higher}."
    )


def _means(rows: pd.DataFrame, by: str, column: str) -> list[tuple[str, float]]:
    return list(rows.groupby(by, sort=False)[column].mean().items())
