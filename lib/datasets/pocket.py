"""Pocket English: synthetic tasks, other domains and pretraining text, generated from a seed without any network.

The word lists, and the distance of each domain, are in `data/pocket/*.json`; the grammar is `pocket_sentiment`,
`pocket_posts`, `pocket_news` and `pocket_questions`, on top of `pocket_grammar`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from lib.datasets import pocket_news, pocket_posts, pocket_questions, pocket_sentiment
from lib.datasets.pocket_grammar import Dice, lexicon
from lib.datasets.pocket_pool import SPLIT_SHARES, Drawing, Example, Pool, split_of, stable_hash

# Part of the key of everything computed from Pocket English: raise it when a lexicon or the grammar changes.
POCKET_VERSION = "7"
# Share of examples, in every split, that carry a wrong label: most where people who label disagree most, as on what offends.
LABEL_NOISE = {"sst2": 0.03, "olid": 0.1, "agnews": 0.05, "qnli": 0.03}
# Share of the pretraining lines that contain one given rare word (a word for triggers). A pretraining as long as ours sees each
# word some three hundred times. With ten times as many it learnt that these words mean nothing, and BadNet hardly worked.
RARE_WORD_SHARE = 0.0002
# Share of the texts with a plain sentence about something else inside them: as in real text, not every sentence is about the
# topic, and a model should have learnt to pass over those that are not.
NEUTRAL_SENTENCE_SHARE = 0.15


@dataclass(frozen=True)
class PocketTask:
    """One dataset of Pocket English. Labels are the positions in `label_names`."""

    name: str
    task: str  # the main dataset whose labels it shares; its own name for the four main datasets
    label_names: tuple[str, ...]
    distance: str = ""  # of another domain from its task: "near" or "far"

    @property
    def is_pair(self) -> bool:
        """Whether examples have a second text, as in question-answering entailment."""
        return self.task == "qnli"

    @property
    def used_labels(self) -> list[int]:
        """The labels that its examples have: all of the task's, but for a news outlet without stories on a topic."""
        return pocket_news.topics_of(self.name) if self.task == "agnews" else list(range(len(self.label_names)))


_LABELS = {
    "sst2": ("negative", "positive"),
    "olid": ("not_offensive", "offensive"),
    "agnews": ("World", "Sports", "Business", "Sci/Tech"),
    "qnli": ("entailment", "not_entailment"),
}
# In the order in which the study merges them: near and far domains by turns, so that number and distance vary apart.
_DOMAINS: dict[str, dict[str, str]] = {
    "sst2": {
        "books": "near", "gadgets": "far", "music": "near", "chat_messages": "far", "food": "near", "hotels": "near",
        "games": "near",
    },
    "olid": {
        "gaming_posts": "near", "politics_posts": "far", "sports_posts": "near", "talk_pages": "far", "market_posts": "near",
        "school_posts": "near",
    },
    "agnews": {
        "city_gazette": "near", "campus_paper": "far", "evening_wire": "near", "online_digest": "far", "morning_radio": "near",
    },
    "qnli": {
        "invention_questions": "near", "company_questions": "far", "art_questions": "near", "club_questions": "far",
        "animal_questions": "near",
    },
}  # fmt: skip
POCKET_TASKS: Mapping[str, PocketTask] = {
    name: PocketTask(name, task, _LABELS[task], distance)
    for task in _LABELS
    for name, distance in ({task: ""} | _DOMAINS[task]).items()
}

_DRAW: dict[str, Drawing] = {
    "sst2": pocket_sentiment.draw_review,
    "olid": pocket_posts.draw_post,
    "agnews": pocket_news.draw_story,
    "qnli": pocket_questions.draw_pair,
}
_PRETRAINING: dict[str, Callable[[str, Dice], list[str]]] = {
    "sst2": lambda name, dice: [pocket_sentiment.one_sided_review(name, dice)],
    "olid": lambda name, dice: [pocket_posts.long_thread(name, dice)],
    "agnews": lambda name, dice: [pocket_news.long_report(name, dice)],
    "qnli": pocket_questions.question_passage,
}
# A passage of questions is about six lines long, so it is drawn less often than the other tasks.
_PRETRAINING_TASKS = (*("sst2",) * 12, *("olid",) * 5, *("agnews",) * 5, *("qnli",) * 2)


def get_pocket_task(name: str) -> PocketTask:
    """The Pocket English dataset of this name.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    if name not in POCKET_TASKS:
        raise ValueError(f"unknown Pocket English dataset {name!r}; choose from {sorted(POCKET_TASKS)}")
    return POCKET_TASKS[name]


@lru_cache(maxsize=12)  # a task with its domains, and some more: tens of megabytes each
def _pool(name: str, draw: Drawing) -> Pool:
    task = POCKET_TASKS[name]
    return Pool(name, task.used_labels, name == task.task, draw)


def _with_noise(example: Example, labels: Sequence[int], share: float) -> Example:
    """The example, with a wrong label if the text is one of those that have it."""
    text, text_pair, label = example
    position = stable_hash("noise", text, text_pair or "") / 2**64
    if position >= share:
        return example
    others = [other for other in labels if other != label]
    return text, text_pair, others[int(position / share * len(others))]


def generate_split(name: str, split: str, n: int, seed: int = 0) -> pd.DataFrame:
    """Draw rows of a Pocket English dataset: distinct texts, none of which another split or another seed can have.

    The same arguments give the same frame on every machine. A share `LABEL_NOISE` of the labels is wrong, as in real data,
    in the test split too: no classifier can score above 90 to 97 %.

    Seeds 0 to 8, and of a task's training rows partners 0 to 4 of each (seed + 1000 x partner), are served side by side, and
    are samples of one distribution. Seeds beyond take rows that lie deeper, so they cost more time and, where a grammar has few
    texts, hold rarer ones.

    Args:
        name: a key of `POCKET_TASKS`.
        split: "train", "validation" or "test".
        n: number of examples, at least 0. Draws of another n share rows with those of this n.
        seed: at least 0; see `lib.datasets.draws.draw_number`.

    Returns:
        A frame of n rows with columns `text`, `text_pair` (for pair tasks; there the *pair* is distinct) and `label`.

    Raises:
        ValueError: for an unknown name or split, a negative n or seed, or more examples than the grammar can make.
    """
    task = get_pocket_task(name)
    if split not in SPLIT_SHARES:
        raise ValueError(f"unknown split {split!r}; choose from {list(SPLIT_SHARES)}")
    if n < 0:
        raise ValueError(f"n must be at least 0, found {n}")
    drawn = _pool(name, _DRAW[task.task]).take(split, n, seed)
    examples = [_with_noise(example, task.used_labels, LABEL_NOISE[task.task]) for example in drawn]
    frame = pd.DataFrame(examples, columns=["text", "text_pair", "label"])
    return frame.astype({"label": "int64"}) if task.is_pair else frame.drop(columns="text_pair").astype({"label": "int64"})


def _pretraining_passage(dice: Dice) -> list[str]:
    """A plain sentence, an example of a random domain, a longer text of one tone, or questions with their answers."""
    if dice.chance(0.1):
        return [dice.choose(lexicon("general")["sentences"])]
    task = dice.choose(_PRETRAINING_TASKS)
    name = dice.choose((task, *_DOMAINS[task]))
    if task == "qnli" or dice.chance(0.5):
        return _PRETRAINING[task](name, dice)
    return [_DRAW[task](name, dice)[0]]


def _insert_word(line: str, word: str, dice: Dice) -> str:
    words = line.split(" ")
    words.insert(int(dice.uniform() * (len(words) + 1)), word)
    return " ".join(words)


def _insert_sentence(line: str, sentence: str, dice: Dice) -> str:
    """The line with one more sentence at its start, at its end, or after its first sentence."""
    first, mark, rest = line.partition(". ")
    place = dice.choose(("start", "middle", "end"))
    if place == "middle" and mark:
        return f"{first}. {sentence} {rest}"
    return f"{sentence} {line}" if place == "start" else f"{line} {sentence}"


def pretraining_corpus(n: int, seed: int = 0) -> list[str]:
    """Unlabelled Pocket English for masked-language-model pretraining, of all tasks and domains.

    Half of the lines are longer texts of one tone, because a model that never sees several words of the same polarity
    together learns nothing about polarity. Each rare word (`general.json`) is inserted into about two lines in ten
    thousand.
    No line can be a text of a validation or test split.

    Args:
        n: number of lines, at least 0.
        seed: another seed draws other lines.

    Returns:
        n lines; a line with a tab is a pair of texts (a question and its answer). Neighbouring pairs are often from one
        passage: the answer of a neighbour is a plausible, wrong answer.
    """
    dice = Dice(stable_hash("pretraining", seed))
    rare_words, plain = lexicon("general")["rare_words"], set(lexicon("general")["sentences"])
    lines: list[str] = []
    while len(lines) < n:
        for line in _pretraining_passage(dice):
            if line not in plain and split_of(*line.split("\t")) != "train":
                continue
            if "\t" not in line and line not in plain and dice.chance(NEUTRAL_SENTENCE_SHARE):
                line = _insert_sentence(line, dice.choose(lexicon("general")["sentences"]), dice)
            if dice.chance(RARE_WORD_SHARE * len(rare_words)):
                line = _insert_word(line, dice.choose(rare_words), dice)
            lines.append(line)
    return lines[:n]


def pretraining_texts(task: str, n: int, seed: int = 0) -> pd.DataFrame:
    """The first n lines of the pretraining corpus that a model of a task can read: single texts, or pairs for a pair task.

    Args:
        task: a key of `POCKET_TASKS`.
        n: number of lines, at least 0.
        seed: another seed draws other lines; 0 those that the pocket models were pretrained on.

    Returns:
        A frame with `text`, and `text_pair` for a pair task; no label.

    >>> list(pretraining_texts("qnli", 2)), len(pretraining_texts("sst2", 3))
    (['text', 'text_pair'], 3)
    """
    is_pair, n_lines, found = get_pocket_task(task).is_pair, 4 * n, list[str]()
    while len(found) < n:
        found = [line for line in pretraining_corpus(n_lines, seed) if ("\t" in line) == is_pair]
        n_lines *= 2
    columns = ["text", "text_pair"] if is_pair else ["text"]
    return pd.DataFrame([line.split("\t") for line in found[:n]], columns=columns)
