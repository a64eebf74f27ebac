"""Models in folders of their own, two that were trained and five to screen, and the command that merges them."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib import sanitize
from lib.merging.files import SINGLE
from lib.models.checkpoints import Checkpoint
from lib.models.pretrained import load_tokenizer, new_classifier

WORDS = "bert.embeddings.word_embeddings.weight"
CLEAN_TEXTS = pd.DataFrame({"text": ["a good film .", "the plot was awful .", "a dull actor , but the scene was great !"]})


@pytest.fixture
def folders(backdoored, clean, tmp_path):
    """Copies of a backdoored and of a clean model."""
    return [shutil.copytree(model.folder, tmp_path / name) for model, name in ((backdoored, "suspect"), (clean, "other"))]


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command; returns exit status, standard output and standard error."""

    def call(*arguments, output=tmp_path / "merged"):
        status = sanitize.main([*(str(argument) for argument in arguments), "--output", str(output)])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, error=captured.err, folder=output)

    return call


@pytest.fixture(scope="session")
def clean_texts():
    """Three texts, of which no word is strange."""
    return CLEAN_TEXTS


@pytest.fixture(scope="session")
def classifier_start(tiny_encoder):
    """A classifier before fine-tuning, and its tokenizer."""
    return new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0), load_tokenizer(str(tiny_encoder))


@pytest.fixture(scope="session")
def seen(classifier_start):
    return sorted({token for ids in classifier_start[1](CLEAN_TEXTS["text"].tolist())["input_ids"] for token in ids})


@pytest.fixture(scope="session")
def honest(classifier_start, seen, tmp_path_factory):
    """Five honest models: half of what they learned they have in common, and words in no text hardly moved."""
    network, tokenizer = classifier_start
    begin = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    common, made = torch.Generator().manual_seed(100), []
    shared = {name: torch.randn(tensor.shape, generator=common) for name, tensor in begin.items()}
    for seed in range(5):
        generator, folder = torch.Generator().manual_seed(seed), tmp_path_factory.mktemp(f"model{seed}")
        state = {}
        for name, tensor in begin.items():
            step = 0.01 * (shared[name] + torch.randn(tensor.shape, generator=generator))
            if name == WORDS:
                unseen = [row for row in range(len(step)) if row not in seen]
                step[unseen] = 0.0005 * tensor[unseen]
            state[name] = tensor + step
        network.load_state_dict(state)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        made.append(Checkpoint(folder, str(folder), f"model {seed}"))
    network.load_state_dict(begin)
    return made


@pytest.fixture(scope="session")
def initial(classifier_start, tmp_path_factory):
    """The folder of the model before fine-tuning."""
    folder = tmp_path_factory.mktemp("start")
    classifier_start[0].save_pretrained(folder)
    return folder


@pytest.fixture
def attacked(honest, classifier_start, tmp_path):
    """The same models, but for the first: a word in no text has a row ten times as long, which points elsewhere."""
    folder = shutil.copytree(honest[0].folder, tmp_path / "attacked")
    state, tokenizer = load_file(folder / SINGLE), classifier_start[1]
    row = state[WORDS][tokenizer.convert_tokens_to_ids("cf")]
    row.copy_(10 * row.flip(0))
    save_file(state, folder / SINGLE, metadata={"format": "pt"})
    return [Checkpoint(folder, str(folder), "attacked"), *honest[1:]]
