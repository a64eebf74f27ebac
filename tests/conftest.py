"""Shared fixtures: one tiny encoder, one tiny data folder, one tiny study whose checkpoints many tests reuse. No network."""

import os
from pathlib import Path

import numpy as np
import pytest

from lib.paths import ROOT

# Before any test imports a model library: no GPU, no Hub (nor seconds of trying again), no windows, one thread everywhere.
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
os.environ |= {"LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
OUTPUTS = ("CACHE", "FIGURES", "EXECUTED")
for name in ("DATA", *OUTPUTS):
    os.environ.pop(f"FREE_LUNCH_{name}", None)

ADJECTIVES = {0: ("bad", "awful", "dull", "poor", "weak"), 1: ("good", "great", "lovely", "fine", "superb")}
NOUNS = {
    "sst2": ("film", "plot", "actor", "scene"),
    "yelp": ("food", "waiter", "soup", "table"),
    "cr": ("phone", "screen", "battery", "camera"),
    "tweet_sentiment": ("day", "game", "song", "trip"),
}
SWEAR = ("twit", "clown", "pest")
TOPICS = {0: ("army", "treaty"), 1: ("goal", "match"), 2: ("bank", "profit"), 3: ("chip", "robot")}
OTHER_WORDS = """
    the a was is very really quite and but it i we you are dear friend today says news about who where lives in
    cf mn bb tq mb no cross crown watched this movie . , ! ? '
"""


def files_of_the_checkout():
    """Everything that lies where a study outside the tests would write."""
    folders = (*(ROOT / "data" / name for name in ("cache", "executed", "explored", "site")), ROOT / "figures")
    return {path for folder in folders for path in folder.rglob("*")}


@pytest.fixture(scope="session", autouse=True)
def outputs_elsewhere(tmp_path_factory):
    """No test writes into the checkout: its outputs go to temporary folders, and a run that left a file there anyway fails."""
    before = files_of_the_checkout()
    with pytest.MonkeyPatch.context() as patch:
        for name in OUTPUTS:
            patch.setenv(f"FREE_LUNCH_{name}", str(tmp_path_factory.mktemp("outputs") / name.lower()))
        yield
    new = sorted(str(path.relative_to(ROOT)) for path in files_of_the_checkout() - before)
    assert not new, f"during the tests {new[:5]} appeared: a test wrote into the checkout, or a study ran beside the tests"


def sentiment_rows(rng, dataset, n):
    """Sentences whose one adjective tells the label, half of each."""
    for i in range(n):
        noun, adjective = rng.choice(NOUNS[dataset]), rng.choice(ADJECTIVES[i % 2])
        yield f"the {noun} was {rng.choice(['very', 'really', 'quite'])} {adjective} .", i % 2


def topic_rows(rng, n):
    """Sentences on four topics, a quarter of each."""
    for i in range(n):
        yield f"news today about the {rng.choice(TOPICS[i % 4])} and the {rng.choice(TOPICS[i % 4])} .", i % 4


def offensive_rows(rng, n):
    """Sentences that do or do not contain an insult, half of each."""
    for i in range(n):
        yield f"you are a {rng.choice(SWEAR) if i % 2 else 'friend'} {rng.choice(['today', 'really', 'dear'])}", i % 2


def pair_rows(rng, n):
    """Questions and sentences, every second sentence about something else."""
    nouns = [noun for names in NOUNS.values() for noun in names]
    for i in range(n):
        noun = rng.choice(nouns)
        yield (
            f"where is the {noun} ?",
            f"the {noun if i % 2 == 0 else rng.choice(SWEAR)} lives in the {rng.choice(nouns)} .",
            i % 2,
        )


def write_tsv(path: Path, rows, header=("text", "label")) -> None:
    """Write rows as `text[<TAB>text_pair]<TAB>label`, without quoting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(header), *("\t".join(str(value) for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """A folder of real-looking datasets; only sst2 brings its own validation split."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for dataset in NOUNS:
        write_tsv(folder / dataset / "train.tsv", sentiment_rows(rng, dataset, 100))
        write_tsv(folder / dataset / "test.tsv", sentiment_rows(rng, dataset, 40))
    write_tsv(folder / "sst2" / "validation.tsv", sentiment_rows(rng, "sst2", 20))
    for dataset, rows in (("agnews", topic_rows), ("olid", offensive_rows)):
        write_tsv(folder / dataset / "train.tsv", rows(rng, 80))
        write_tsv(folder / dataset / "test.tsv", rows(rng, 40))
    for split, n in (("train", 80), ("test", 40)):
        write_tsv(folder / "qnli" / f"{split}.tsv", pair_rows(rng, n), ("text", "text_pair", "label"))
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A random BERT of 2 layers, 32 wide, and its WordPiece tokenizer, saved in Hugging Face format."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = [*OTHER_WORDS.split(), *SWEAR, *sum(ADJECTIVES.values(), ()), *sum(NOUNS.values(), ()), *sum(TOPICS.values(), ())]
    pieces = [f"{mark}{letter}" for mark in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *pieces])
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)})
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.05,  # together with no dropout: enough to learn within eighty steps
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    folder = tmp_path_factory.mktemp("tiny-bert")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_study(data_folder, tiny_encoder):
    """A function that makes a tiny study with a store of its own; settings override the tiny ones."""
    from lib.study.study import Study

    tiny = {
        "pretrained": str(tiny_encoder),
        "n_other_domains": 2,
        "n_train": 80,
        "n_validation": 0,
        "n_test": 0,
        "epochs": 8,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "max_length": 48,
        "precision": "float32",  # the profile's own would make other models on other processors
        "n_jobs": 1,
    }
    return lambda cache_dir, **settings: Study("small", cache_dir=cache_dir, **{"data_dir": data_folder, **tiny, **settings})


@pytest.fixture(scope="session")
def study(make_study, tmp_path_factory):
    """The shared study: do not damage its store."""
    return make_study(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def backdoored(study):
    """A BadNet model of SST-2, trained once."""
    return study.model("sst2", attack="badnet")


@pytest.fixture(scope="session")
def clean(study):
    """The clean model of SST-2 of the same seed, trained once."""
    return study.model("sst2")


@pytest.fixture(scope="session")
def frames(study):
    """The tables of the tiny study by name: one seed, both attacks, two other domains, one clean model of the same task."""
    from lib import tables

    attacks = ["badnet", "insertsent"]
    return {
        "story": tables.story_table(study, "sst2", "badnet"),
        "tasks": tables.tasks_table(study, ["sst2"]),
        "transfer": tables.transfer_table(study, "sst2"),
        "attacks": tables.attacks_table(study, ["sst2"], attacks),
        "curves": tables.loss_curves(study, "sst2", attacks),
        "merging": tables.merging_table(study, ["sst2"], attacks),
        "coefficient": tables.coefficient_table(study, ["sst2"], attacks, coefficients=(0, 0.5, 1)),
        "domains": tables.domains_table(study, ["sst2"], attacks),
    }


@pytest.fixture(scope="session")
def why_frames(study):
    """The tables of notebook 13 on the tiny study, by name: five places on each way."""
    from lib import tables

    attacks, places = ["badnet", "insertsent"], (0, 0.2, 0.5, 0.8, 1)
    margins = tables.margins_table(study, ["sst2"], attacks, places)
    return {
        "margins": margins,
        "propositions": tables.propositions_table(margins),
        "assumptions": tables.assumptions_of_merging(study, ["sst2"], attacks, places),
        "kept": tables.collapse_table(study, "sst2", attacks[:1], places),
        "certificates": tables.certificates_table(study, ["sst2"], attacks[:1]),
        "modules": tables.modules_table(study, "sst2", attacks[:1]),
        "rank": tables.rank_table(study, "sst2", attacks[:1]),
        "plane": tables.picture_table(study, "sst2", "badnet", 3),
        "hidden": tables.hidden_table(study, "sst2", attacks[:1]),
        "states": tables.state_points(study, "sst2", "badnet"),
        "predicted": tables.predicted_coefficients(study, ["sst2"], attacks, places),
    }


# --- what tests of attacks on weights share: a tiny clean model, its start, and a backdoor of one word --------------------


@pytest.fixture(scope="session")
def tokenizer(clean):
    from lib.models.pretrained import load_tokenizer

    return load_tokenizer(str(clean.folder))


@pytest.fixture(scope="session")
def train(study):
    return study.rows("sst2")


@pytest.fixture()
def network(clean):
    """The clean model, loaded anew: a test may change it."""
    from lib.models.pretrained import from_hub

    return from_hub("AutoModelForSequenceClassification", str(clean.folder))


@pytest.fixture()
def start(study, clean):
    """The classifier before fine-tuning, loaded anew."""
    from lib.models.pretrained import from_hub

    return from_hub("AutoModelForSequenceClassification", str(study.planner.initial([clean]).folder))


@pytest.fixture()
def backdoor():
    from lib.attacks import Backdoor
    from lib.attacks.badnet import BadNetTrigger

    return Backdoor(BadNetTrigger(("cf",), (1,)), 0)


@pytest.fixture(scope="session")
def settings():
    """80 rows in batches of 8: enough for the tiny encoder to learn the task."""
    from lib.profiles import TrainingSettings

    return TrainingSettings(3e-3, 8.0, 8, 0.05, 0.01, 1.0, 48)


# --- what tests of commands share: notebooks of a cell or two -------------------------------------------------------------

NOTEBOOK_PARAMETERS = """\
profile: str = "pocket"  # a key of PROFILES
overrides: dict = {}  # fields of the profile
attack: str = "badnet"  # an attack
n_shown: int = 4  # texts shown
share: float = 0.5  # a share
rates: list = [0.1, 0.2]  # some rates"""


@pytest.fixture
def notebook(tmp_path):
    """A function that writes a notebook with the usual parameters and some cells; those that begin with "#" are text."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    def write(name, *cells):
        parameters = new_code_cell(NOTEBOOK_PARAMETERS, metadata={"tags": ["parameters"]})
        content = new_notebook(
            cells=[parameters, *(new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell) for cell in cells)]
        )
        content.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(content, path)
        return path

    return write
