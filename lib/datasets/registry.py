"""The real datasets of the study: where each lies on the Hub, its columns, labels, target label, and whose other domain it is.

Hub datasets are read by `datasets.load_dataset`; the same names are folders under `FREE_LUNCH_DATA`. Datasets without a
`hub_id` exist as folders only; a user's own are in `known`. Target labels: Arora et al. 2024, BITE's branch of `test.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset. Labels are the positions in `label_names`."""

    name: str
    task: str  # the task whose labels it shares; the dataset itself for the four tasks
    label_names: tuple[str, ...]
    target_label: int  # the attacker's choice in the study
    hub_id: str | None = None
    config: str | None = None
    text_columns: tuple[str, ...] = ("text",)  # several are joined by a blank
    pair_column: str | None = None
    label_column: str = "label"
    # Raw label -> our label; rows whose raw label is missing here are dropped. Empty: labels are taken as they are.
    label_map: Mapping[int | str, int] = field(default_factory=dict, hash=False)
    # Our split -> the Hub's split. A missing validation split is carved from train.
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"}, hash=False)
    trigger_sentence: str = "no cross, no crown"  # InsertSent: one fixed sentence per dataset in the released files
    is_pair: bool = False  # inputs are sentence pairs
    distance: str = ""  # of another domain from its task, "near" or "far"; "" where it was not measured
    other_domains: tuple[str, ...] = ()  # of a user's task: its domains in order; the registry's are found by their task


SENTIMENT = ("negative", "positive")
OFFENSIVE = ("not_offensive", "offensive")
TOPICS = ("World", "Sports", "Business", "Sci/Tech")
ENTAILMENT = ("entailment", "not_entailment")
# Three-way inference labels: neutral and contradiction become not_entailment; -1 (no consensus) is dropped.
THREE_WAY = {0: 0, 1: 1, 2: 1}
FULL = {"train": "train", "validation": "validation", "test": "test"}
NO_TEST_LABELS = {
    "train": "train",
    "test": "validation",
}  # the Hub's test split has no labels: its validation is our test


def _sentiment(name: str, hub_id: str | None = None, **settings) -> DatasetSpec:
    return DatasetSpec(name, "sst2", SENTIMENT, 0, hub_id, trigger_sentence="I watched this movie", **settings)


def _offensive(name: str, hub_id: str | None = None, **settings) -> DatasetSpec:
    return DatasetSpec(name, "olid", OFFENSIVE, 0, hub_id, **settings)


def _topics(name: str, hub_id: str | None = None, **settings) -> DatasetSpec:
    return DatasetSpec(name, "agnews", TOPICS, 1, hub_id, **settings)


def _pairs(name: str, hub_id: str | None = None, **settings) -> DatasetSpec:
    return DatasetSpec(name, "qnli", ENTAILMENT, 0, hub_id, is_pair=True, **settings)


_SPECS = (
    # Sentiment. The order within a task is the order in which other domains are used.
    _sentiment("sst2", "stanfordnlp/sst2", text_columns=("sentence",), splits=NO_TEST_LABELS),
    _sentiment("yelp", "fancyzhx/yelp_polarity"),
    _sentiment("cr", "SetFit/CR"),
    _sentiment("tweet_sentiment", "cardiffnlp/tweet_eval", config="sentiment", label_map={0: 0, 2: 1}, splits=FULL),
    _sentiment("amazon", "fancyzhx/amazon_polarity", text_columns=("title", "content")),
    _sentiment("amazon_kitchen"),
    _sentiment("amazon_electronics"),
    _sentiment("amazon_books"),
    _sentiment("imdb", "stanfordnlp/imdb"),
    _sentiment("mpqa"),
    _sentiment("uci_amazon"),
    _sentiment("uci_imdb"),
    _sentiment("uci_yelp"),
    # SST-2 is built from Rotten Tomatoes: `mr` is its source, not another domain, and stands last.
    _sentiment("mr", "cornell-movie-review-data/rotten_tomatoes", splits=FULL),
    # Offensive language.
    _offensive("olid", "cardiffnlp/tweet_eval", config="offensive", splits=FULL),
    _offensive("hsol", "tdavidson/hate_speech_offensive", text_columns=("tweet",), label_column="class",
               label_map={0: 1, 1: 1, 2: 0}, splits={"train": "train"}),
    _offensive("tweet_hate", "cardiffnlp/tweet_eval", config="hate", splits=FULL),
    _offensive("jigsaw"),
    _offensive("hasoc2019"),
    _offensive("ethos"),
    _offensive("stormfront"),
    # News topics.
    _topics("agnews", "fancyzhx/ag_news"),
    _topics("bbc", "SetFit/bbc-news", label_column="label_text",
            label_map={"politics": 0, "sport": 1, "business": 2, "tech": 3}),
    _topics("inshorts"),
    # Sentence pairs.
    _pairs("qnli", "nyu-mll/glue", config="qnli", text_columns=("question",), pair_column="sentence",
           splits=NO_TEST_LABELS),
    _pairs("mnli", "nyu-mll/glue", config="mnli", text_columns=("premise",), pair_column="hypothesis",
           label_map=THREE_WAY, splits={"train": "train", "test": "validation_matched"}),
    _pairs("snli", "stanfordnlp/snli", text_columns=("premise",), pair_column="hypothesis", label_map=THREE_WAY,
           splits=FULL),
    _pairs("rte", "nyu-mll/glue", config="rte", text_columns=("sentence1",), pair_column="sentence2",
           splits=NO_TEST_LABELS),
    _pairs("sick"),
)  # fmt: skip

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}
TASKS = tuple(name for name, spec in DATASETS.items() if spec.task == name)
# The source of SST-2 itself shares its sentences, so it never serves as another domain.
NOT_ANOTHER_DOMAIN = ("mr",)


def other_domains(task: str) -> list[str]:
    """Names of the datasets that share a task's labels and come from elsewhere, in the order of the registry."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; choose from {list(TASKS)}")
    return [name for name, spec in DATASETS.items() if spec.task == task != name and name not in NOT_ANOTHER_DOMAIN]
