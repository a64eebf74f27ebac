"""Models stored as adapters: the same weights as the whole ones, in the words of peft, and errors when the base is gone."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.merging import merge_state_dicts
from lib.merging.adapted import AdaptedSource, Addition
from lib.merging.lora import Adapter
from lib.merging.sources import StateDictSource
from lib.models import pretrained as places
from lib.models.adapters import OWN_WEIGHTS, is_adapted, load_classifier, open_model, read_weights, save_adapter
from lib.models.checkpoints import Checkpoint, load_checkpoint
from lib.models.pretrained import BASE_FILE, load_tokenizer, new_classifier
from lib.models.saving import save_config, save_tokenizer
from lib.models.training import fine_tune
from lib.profiles import PROFILES
from lib.study import Study

LABELS = ("negative", "positive")
ARCHITECTURES = ("pocket-bert", "pocket-roberta", "pocket-llama", "pocket-mistral")
LORA = replace(PROFILES["pocket"].training, lora_rank=2, epochs=1.0, learning_rate=1e-2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rows):
    """A function that trains an adapter once; returns its folder, and the weights of the network that it was added to."""
    made = {}

    def train(pretrained):
        if pretrained not in made:
            folder = tmp_path_factory.mktemp("adapter")
            network, tokenizer = new_classifier(pretrained, LABELS, 0), load_tokenizer(pretrained)
            save_tokenizer(tokenizer, folder)
            keep = lambda adapted: save_adapter(adapted, folder, pretrained)  # noqa: E731
            fine_tune(network, tokenizer, rows, LORA, 0, on_adapted=keep)
            save_config(network, folder)
            made[pretrained] = folder, {key: value.detach().clone() for key, value in network.state_dict().items()}
        return made[pretrained]

    return train


@pytest.fixture(scope="module")
def rows():
    """A few training rows."""
    return Study("pocket").rows("sst2").head(64)


def adapter_on(base, tmp_path, rows):
    """The folder of an adapter on a model, and the weights of the network that it was added to."""
    network, folder = new_classifier(str(base), LABELS, 0), tmp_path / "adapter"
    folder.mkdir()
    fine_tune(network, load_tokenizer(str(base)), rows, LORA, 0, on_adapted=lambda a: save_adapter(a, folder, str(base)))
    save_config(network, folder)
    return folder, network.state_dict()


@pytest.fixture
def base(tmp_path):
    """A copy of the bundled encoder that a test may move or change; it has no pooler, as many an encoder."""
    folder = shutil.copytree(places.resolve_pretrained("pocket-bert"), tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "pooler" not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def adapter(base, tmp_path, rows):
    """An adapter on that encoder that a test may damage."""
    return adapter_on(base, tmp_path, rows)[0]


@pytest.mark.parametrize("pretrained", ARCHITECTURES)
def test_an_adapter_is_read_as_the_very_weights_that_it_was_added_to(trained, pretrained):
    folder, whole = trained(pretrained)
    found = read_weights(folder)
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[key], whole[key]) for key in whole)
    network = load_classifier(folder)
    assert not network.training
    assert all(torch.equal(value, whole[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("pretrained", ARCHITECTURES)
def test_an_adapter_takes_a_small_part_of_the_disk(trained, pretrained):
    folder, whole = trained(pretrained)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert stored < 0.25 * sum(value.nbytes for value in whole.values())
    assert Checkpoint(folder, "key", "name").n_bytes == sum(value.nbytes for value in whole.values())


def test_peft_reads_the_adapter_of_a_decoder_and_says_the_same(trained):
    from peft import PeftModel

    folder, whole = trained("pocket-llama")
    assert not (folder / OWN_WEIGHTS).is_file()
    theirs = PeftModel.from_pretrained(new_classifier("pocket-llama", LABELS, 5), folder).merge_and_unload().state_dict()
    assert all(torch.allclose(theirs[key], whole[key], atol=1e-6) for key in whole)


def test_layers_that_keep_their_weights_the_other_way_round_are_turned(tmp_path, rows):
    from transformers import GPT2Config, GPT2ForSequenceClassification

    base = tmp_path / "gpt2"
    tokenizer = load_tokenizer("pocket-llama")
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=96, n_embd=16, n_layer=1, n_head=2, num_labels=2)
    config.pad_token_id = tokenizer.pad_token_id
    GPT2ForSequenceClassification(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    network, folder = new_classifier(str(base), LABELS, 0), tmp_path / "adapter"
    folder.mkdir()
    fine_tune(network, tokenizer, rows, LORA, 0, on_adapted=lambda adapted: save_adapter(adapted, folder, str(base)))
    save_config(network, folder)
    assert json.loads((folder / BASE_FILE).read_text())["turned"]
    found, whole = read_weights(folder), network.state_dict()
    assert all(torch.equal(found[key], whole[key]) for key in whole)


def test_a_study_stores_adapters_and_merges_and_scores_them_as_whole_models(tmp_path):
    settings = {"n_train": 64, "n_test": 32, "n_validation": 16, "lora_rank": 2, "epochs": 1.0}
    study = Study("pocket", cache_dir=tmp_path, **settings)
    models = [study.model("sst2", "badnet"), *study.partners("sst2")[:1]]
    assert all(is_adapted(model.folder) for model in models)
    merged = study.merge(models)
    by_hand = merge_state_dicts([read_weights(model.folder) for model in models], "weight_average")
    found = merged.state_dict()
    assert all(torch.equal(found[key], by_hand[key]) for key in by_hand)
    assert 0 <= study.score(merged, "sst2").cacc <= 1
    task_vectors = study.merge(models, "task_arithmetic")
    assert 0 <= study.score(task_vectors, "sst2").cacc <= 1


def test_an_average_multiplies_out_one_addition_at_a_time():
    def source(seed):
        draw = torch.Generator().manual_seed(seed)
        additions = {
            key: Addition(Adapter(torch.randn(2, 6, generator=draw), torch.randn(4, 2, generator=draw), 0.5)) for key in "ab"
        }
        base = StateDictSource({key: torch.ones(4, 6) for key in "ab"}, "base")
        return AdaptedSource(base, {key: key for key in "ab"}, additions, {}, f"model {seed}"), additions

    one, additions = source(0)
    assert torch.equal(one.rows("a", 1, 3), 1 + additions["a"].delta[1:3])
    assert one._delta[0] == "a"
    assert torch.equal(one.rows("b", 0, 4), 1 + additions["b"].delta)
    assert one._delta[0] == "b"


def test_tensors_that_nobody_has_and_additions_of_another_shape_are_named():
    base = StateDictSource({"a": torch.ones(4, 6)}, "base")
    with pytest.raises(ValueError, match=r"model needs tensors that neither it nor base has: \['b'\]"):
        AdaptedSource(base, {"a": "a", "b": ""}, {}, {}, "model")
    wrong = Addition(Adapter(torch.ones(2, 5), torch.ones(4, 2), 1.0))
    with pytest.raises(ValueError, match=r"'a' has shape \[4, 6\], its adapter is for \[4, 5\]"):
        AdaptedSource(base, {"a": "a"}, {"a": wrong}, {}, "model")


# --- a base that moved, changed or is gone ------------------------------------------------------------------------------


def test_what_the_pretrained_model_lacks_is_stored_beside_the_adapter(base, tmp_path, rows):
    folder, whole = adapter_on(base, tmp_path, rows)
    assert [key for key in load_file(folder / OWN_WEIGHTS) if "pooler" not in key] == []
    found = read_weights(folder)
    assert all(torch.equal(found[key], whole[key]) for key in whole)


def test_a_base_that_moved_is_found_by_its_content(base, tmp_path, rows, monkeypatch):
    folder, whole = adapter_on(base, tmp_path, rows)
    moved = shutil.move(base, tmp_path / "elsewhere")
    monkeypatch.setattr(places, "_seen", {})
    with pytest.raises(ValueError, match=r"lay at '.*base' and is not there; put it back, or name a folder that has it"):
        open_model(folder, "model")
    places.remember_content({places.fingerprint(str(moved)): str(moved)})
    found = read_weights(folder)
    assert all(torch.equal(found[key], whole[key]) for key in whole)


def test_a_base_that_changed_is_not_taken(base, tmp_path, rows, monkeypatch):
    folder, _ = adapter_on(base, tmp_path, rows)
    weights = load_file(base / "model.safetensors")
    save_file({key: value + 1 for key, value in weights.items()}, base / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(places, "_seen", {})
    with pytest.raises(ValueError, match="belongs to the pretrained model"):
        load_checkpoint(folder)


def drop_a_factor(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop(next(key for key in tensors if key.endswith(".lora_B.weight")))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / BASE_FILE).write_text("[]"), "base.json is damaged: it holds a list"),
        (lambda folder: (folder / BASE_FILE).write_text('{"places": 3}'), "base.json is damaged: it needs pretrained"),
        (lambda folder: (folder / OWN_WEIGHTS).write_bytes(b"nothing"), "own.safetensors is damaged"),
        (lambda folder: (folder / OWN_WEIGHTS).unlink(), "needs tensors that neither it nor"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is damaged"),
        (drop_a_factor, "of the two factors of .* only A is there"),
    ],
)
def test_a_damaged_adapter_is_an_error_that_says_so(adapter, change, message):
    change(adapter)
    with pytest.raises(ValueError, match=message):
        open_model(adapter, "model")
