"""An encoder gets a masked-LM head from training texts: tied, reproducible, measured on texts that it was not trained on."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, BertModel

from lib.adapt_masked_lm import main
from lib.datasets import load_dataset, unlabelled_texts
from lib.models import adapting, masked_lines
from lib.models.adapting import AdaptingSettings, TextsOfDataset, adapt
from lib.models.last_layer import logits_at
from lib.models.masked_lines import lines_of, masked_batches, measure
from lib.models.masked_lm import load_masked_lm
from lib.models.pretrained import load_tokenizer
from lib.models.progress import Progress
from lib.paths import cache_dir
from lib.study.recipes import MaskedLMRecipe
from lib.study.store import ARTIFACT

TINY = AdaptingSettings(n_steps=6, batch_size=16, learning_rate=3e-3, max_length=32, precision="float32")
RECORD = "masked_lm.json"


@pytest.fixture
def folder(data_folder, tmp_path, monkeypatch):
    """The tiny data folder, whose test files cannot be read, and an empty store."""
    copy = shutil.copytree(data_folder, tmp_path / "data")
    for file in copy.glob("*/test.tsv"):
        file.unlink()
        file.mkdir()  # who opens it fails, whoever it is
    monkeypatch.setenv("FREE_LUNCH_DATA", str(copy))
    monkeypatch.setenv("FREE_LUNCH_CACHE", str(tmp_path / "cache"))
    return copy


@pytest.fixture(scope="module")
def texts(data_folder):
    """Texts of SST-2, of which validation texts were left out."""
    found = unlabelled_texts("sst2", data_folder)
    return {"sst2": TextsOfDataset(found.train, found.held_out)}


def command(encoder, *more, texts=("sst2", "yelp")):
    """The exit status of a small run of the command."""
    small = ["--steps", "4", "--batch-size", "16", "--max-length", "32", "--precision", "float32"]
    return main(["--pretrained", str(encoder), "--texts", *texts, *small, *more])


def finished():
    """The folders that the store has."""
    return [path for path in cache_dir().glob("*") if not path.name.startswith(".")]


# --- the model -------------------------------------------------------------------------------------------------------


def test_the_head_is_tied_to_the_embeddings_in_training_and_in_the_file(tiny_encoder, texts, tmp_path):
    before = BertModel.from_pretrained(tiny_encoder).embeddings.word_embeddings.weight.detach().clone()
    model, _ = adapt(str(tiny_encoder), texts, TINY)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert not torch.equal(model.cls.predictions.decoder.weight, before)  # trained together
    model.save_pretrained(tmp_path)
    loaded, found = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_training_lowers_the_loss_and_raises_the_accuracy_on_held_out_texts(tiny_encoder, texts):
    short = adapt(str(tiny_encoder), texts, dataclasses.replace(TINY, n_steps=1))[1]
    long = adapt(str(tiny_encoder), texts, dataclasses.replace(TINY, n_steps=150))[1]
    assert long["training_losses"][-1] < long["training_losses"][0] - 1
    assert long["held_out_loss"] < short["held_out_loss"] - 1
    assert long["top1"] > short["top1"] + 0.2 and long["top5"] > long["top1"]


def test_equal_settings_give_equal_weights_and_another_seed_gives_others(tiny_encoder, texts):
    first, same = (adapt(str(tiny_encoder), texts, TINY)[0].state_dict() for _ in range(2))
    other = adapt(str(tiny_encoder), texts, dataclasses.replace(TINY, seed=1))[0].state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.items())
    name = "cls.predictions.transform.dense.weight"
    assert not torch.equal(first[name], other[name])


def test_a_killed_training_goes_on_to_the_same_weights(tiny_encoder, texts, tmp_path):
    def kill(step, _):
        if step == 4:
            raise KeyboardInterrupt

    progress = Progress(tmp_path / "state", "this training", 1)
    with pytest.raises(KeyboardInterrupt):
        adapt(str(tiny_encoder), texts, TINY, kill, progress)
    resumed, record = adapt(str(tiny_encoder), texts, TINY, progress=progress)
    whole, uninterrupted = adapt(str(tiny_encoder), texts, TINY)
    assert (uninterrupted["first_step"], record["first_step"]) == (1, 5)  # killed when the state of step 4 was kept
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert record["training_losses"] == uninterrupted["training_losses"]


def test_bfloat16_trains_weights_that_stay_float32(tiny_encoder, texts):
    model, record = adapt(str(tiny_encoder), texts, dataclasses.replace(TINY, precision="bfloat16"))
    assert {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    exact = adapt(str(tiny_encoder), texts, TINY)[1]["training_losses"]
    assert record["training_losses"] != exact and record["training_losses"] == pytest.approx(exact, rel=0.02)


def test_the_precision_auto_is_that_of_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert AdaptingSettings().resolved().precision == "bfloat16"
    assert AdaptingSettings(precision="float32").resolved().precision == "float32"


# --- lines, masks and measures ---------------------------------------------------------------------------------------


def test_long_texts_are_cut_and_no_piece_is_lost(tiny_encoder):
    tokenizer = load_tokenizer(str(tiny_encoder))
    text = " ".join(["the film was very good ."] * 5)
    lines = lines_of(tokenizer, [text, "a day", "a day", "a", "the screen"], 10)
    assert max(map(len, lines)) == 10
    assert lines[-2:] == [
        tuple(tokenizer(each)["input_ids"]) for each in ("a day", "the screen")
    ]  # once; "a" alone is left out
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [piece for line in lines[:-2] for piece in line[1:-1]] == whole


def test_every_epoch_has_new_masks_of_the_same_lines(tiny_encoder):
    tokenizer = load_tokenizer(str(tiny_encoder))
    lines = lines_of(tokenizer, [f"{word} " + "the film was very good " * 5 for word in ("a", "we", "you", "dear")], 32)
    batches = masked_batches(tokenizer, lines, 4, 0.5, 0)
    seen = []
    for _ in range(6):
        batch = next(batches)
        whole = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
        assert {tuple(row) for row in whole.tolist()} == set(lines)
        hidden = {
            tuple(row): tuple((labels != -100).tolist()) for row, labels in zip(whole.tolist(), batch["labels"], strict=True)
        }
        seen.append(hidden[lines[0]])
    assert len(set(seen)) == 6


def test_a_batch_never_comes_without_a_hidden_piece(tiny_encoder):
    tokenizer = load_tokenizer(str(tiny_encoder))
    batches = masked_batches(tokenizer, lines_of(tokenizer, ["good day"], 8), 1, 0.05, 0)
    assert all((next(batches)["labels"] != -100).any() for _ in range(50))


def test_the_loss_and_its_gradients_are_those_of_transformers(tiny_encoder, texts):
    tokenizer, (model, _) = load_tokenizer(str(tiny_encoder)), adapt(str(tiny_encoder), texts, TINY)
    batch = next(masked_batches(tokenizer, lines_of(tokenizer, texts["sst2"].train, 32), 16, 0.3, 0))
    found = {}
    for name, loss in (("ours", masked_lines.masked_loss(model, batch)), ("theirs", model(**batch).loss)):
        model.zero_grad()
        loss.backward()
        found[name] = {"loss": loss.detach()} | {key: each.grad.clone() for key, each in model.named_parameters()}
    assert len(found["ours"]) > 30
    for key, expected in found["theirs"].items():
        torch.testing.assert_close(found["ours"][key], expected, rtol=1e-4, atol=1e-6, msg=key)  # another order of sums


def test_measures_are_those_of_the_whole_model_on_the_same_masks(tiny_encoder, texts, monkeypatch):
    """Against a plain loop over lines: logits of every position, probabilities and ranks counted in NumPy."""
    tokenizer, (model, _) = load_tokenizer(str(tiny_encoder)), adapt(str(tiny_encoder), texts, TINY)
    words = ["we", "watched", "this", "movie", "today", "and", "the", "plot", "was", "good", "but", "it", "is", "very", "dull"]
    lines = {n + 2: tokenizer(" ".join(words[:n]))["input_ids"] for n in range(2, len(words))}  # each of another length
    seen = []

    def watch(model, batch, at):
        seen.append((batch["input_ids"], at, batch["attention_mask"].sum(dim=1)))
        return logits_at(model, batch, at)

    monkeypatch.setattr(masked_lines, "logits_at", watch)
    found = measure(model, tokenizer, list(lines.values()))
    losses, ranks = [], []
    for input_ids, at, lengths in seen:
        assert (input_ids[at] == tokenizer.mask_token_id).all()  # every chosen piece is a mask
        for row, hidden, n in zip(input_ids, at, lengths.tolist(), strict=True):
            logits = model(row[None, :n].clone()).logits[0].double().detach().numpy()  # a clone may have gradients
            for i in np.flatnonzero(hidden.numpy()):
                losses.append(math.log(np.exp(logits[i]).sum()) - logits[i, lines[n][i]])
                ranks.append(int((logits[i] > logits[i, lines[n][i]]).sum()))
    assert found.n_pieces == len(losses) > 10
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-4)  # float32 against float64
    assert (found.top1, found.top5) == pytest.approx((np.mean(np.array(ranks) < 1), np.mean(np.array(ranks) < 5)))


def test_a_model_that_diverged_is_not_called_perfect(tiny_encoder, texts):
    tokenizer, (model, _) = load_tokenizer(str(tiny_encoder)), adapt(str(tiny_encoder), texts, TINY)
    model.cls.predictions.bias.data.fill_(math.nan)
    with pytest.raises(ValueError, match="diverged"):
        measure(model, tokenizer, lines_of(tokenizer, texts["sst2"].held_out, 32))


# --- which texts -----------------------------------------------------------------------------------------------------


def test_without_a_validation_file_the_rows_of_the_study_are_set_aside(data_folder):
    own, set_aside = unlabelled_texts("sst2", data_folder), unlabelled_texts("yelp", data_folder)
    usual = {name: load_dataset(name, "real", data_folder) for name in ("sst2", "yelp")}
    assert not own.is_set_aside and set_aside.is_set_aside
    for name, found in (("sst2", own), ("yelp", set_aside)):
        assert found.train == tuple(usual[name].train["text"]) and found.held_out == tuple(usual[name].validation["text"])


def test_both_texts_of_a_pair_are_texts_of_their_own(data_folder):
    found = unlabelled_texts("qnli", data_folder)
    assert len(found.train) == 2 * 72 and len(found.held_out) == 2 * 8
    assert "where is the film ?" in found.train


def test_a_held_out_line_is_not_trained_on_wherever_it_comes_from(tiny_encoder):
    tokenizer = load_tokenizer(str(tiny_encoder))
    given = {
        "a": TextsOfDataset(["the film was good .", "The plot was bad ."], ["the day was fine today ."] * 2),
        "b": TextsOfDataset(["the game was dull .", "the day was fine today ."], ["the plot was bad ."]),
    }
    lines, held_out = adapting._lines(tokenizer, given, TINY)
    assert {name: tokenizer.batch_decode(each, skip_special_tokens=True) for name, each in lines.items()} == {
        "a": ["the film was good."], "b": ["the game was dull."]
    }  # fmt: skip
    assert {name: len(each) for name, each in held_out.items()} == {"a": 1, "b": 1}


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_makes_a_masked_lm_without_test_files_and_says_how_to_use_it(tiny_encoder, folder, capsys):
    assert command(tiny_encoder) == 0
    [made] = finished()
    *_, numbers, advice = capsys.readouterr().out.strip().splitlines()
    record = json.loads((made / RECORD).read_text())
    assert numbers.startswith(
        f"{made}: held-out loss {record['held_out_loss']:.3f}, top-1 {record['top1']:.1%}, top-5 {record['top5']:.1%} at"
    )
    assert f"-p masked_lm {made}" in advice
    assert load_masked_lm(str(made)).predict([["the", "film", "was", None, "."]], 2).words.shape == (1, 2)
    assert record["settings"] | {"n_steps": 4, "batch_size": 16, "precision": "float32"} == record["settings"]
    sources = {name: each["held_out"] for name, each in record["texts"].items()}
    assert sources == {"sst2": "validation texts", "yelp": "training texts set aside"}
    pieces = [each["n_pieces"] for each in record["texts"].values()]
    assert record["n_pieces"] == sum(pieces) > 0 and record["seconds"] > 0
    expected = sum(each["n_pieces"] * each["loss"] for each in record["texts"].values()) / sum(pieces)
    assert record["held_out_loss"] == pytest.approx(expected)
    assert [path.name for path in cache_dir().glob(".*")] == [".locks"]


def test_equal_settings_are_found_again_and_a_damaged_model_is_made_anew(tiny_encoder, folder, capsys, monkeypatch):
    assert command(tiny_encoder) == 0
    [made] = finished()
    weights, first = made / "model.safetensors", capsys.readouterr().out.splitlines()[-2:]
    content = weights.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(adapting, "train", None)  # nothing is trained
        assert command(tiny_encoder, texts=("yelp", "sst2")) == 0
    assert capsys.readouterr().out.splitlines() == first
    weights.write_bytes(content[:-8])
    with pytest.warns(UserWarning, match="damaged and is made again"):
        assert command(tiny_encoder) == 0
    assert weights.read_bytes() == content
    for change in (("--seed", "1"), ("--learning-rate", "1e-3")):
        assert command(tiny_encoder, *change) == 0
    assert command(tiny_encoder, texts=("sst2",)) == 0
    lines = (folder / "yelp" / "train.tsv").read_text().splitlines()
    (folder / "yelp" / "train.tsv").write_text("\n".join([*lines, "the soup was lovely today .\t1"]))
    assert command(tiny_encoder) == 0
    assert len(finished()) == 5


def test_a_killed_command_goes_on_when_it_is_given_again(tiny_encoder, folder, monkeypatch, capsys):
    def kill(model, batch):
        kill.steps += 1
        if kill.steps == 3:
            raise KeyboardInterrupt
        return masked_lines.masked_loss(model, batch)

    kill.steps = 0
    monkeypatch.setattr(adapting, "masked_loss", kill)
    with pytest.raises(KeyboardInterrupt):
        command(tiny_encoder)
    assert not finished()
    [state] = cache_dir().glob(".*.progress")
    state.with_suffix(".1.partial").write_bytes(b"a state that was half written")
    assert command(tiny_encoder) == 0
    [made] = finished()
    assert kill.steps == 3 + 2 and json.loads((made / RECORD).read_text())["first_step"] == 3
    assert [path.name for path in cache_dir().glob(".*")] == [".locks"]


def test_a_copy_is_written_where_it_is_asked_for(tiny_encoder, folder, tmp_path, capsys):
    copy = tmp_path / "copies" / "mine"
    assert command(tiny_encoder, "--output", str(copy)) == 0
    assert f"-p masked_lm {copy}" in capsys.readouterr().out
    [made] = finished()
    expected = {path.name for path in made.iterdir()} - {ARTIFACT}
    assert {path.name for path in copy.iterdir()} == expected >= {"model.safetensors", "config.json", "tokenizer.json", RECORD}
    load_masked_lm(str(copy))
    assert command(tiny_encoder, "--output", str(copy)) == 2
    assert f"output folder {copy} exists" in capsys.readouterr().err


def folder_with(tiny_encoder, tmp_path, change):
    """A copy of the tiny encoder, changed."""
    copy = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    change(copy)
    return copy


def without_mask(folder):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text())
            found.pop("mask_token", None)
            found["tokenizer_class"] = "PreTrainedTokenizerFast"
            (folder / name).write_text(json.dumps(found))


def made_a_decoder(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"is_decoder": True}))


def without_a_layer(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layer.1.output" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_mask, "has no mask_token"),
        (made_a_decoder, "is a decoder or no text encoder (model_type 'bert')"),
        (without_a_layer, "lacks 4 weights of its encoder, the first is bert.encoder.layer.1.output."),
        (lambda folder: (folder / "config.json").unlink(), "needs config.json and *.safetensors"),
        (lambda folder: BertModel(BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
                                  ).save_pretrained(folder), "pieces, its model 20"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_used_gets_one_line(change, message, tiny_encoder, folder, tmp_path, capsys):
    encoder = folder_with(tiny_encoder, tmp_path, change)
    capsys.readouterr()
    assert command(encoder) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("error: ") and "\n" not in error
    assert not finished() and not list(cache_dir().glob(".*.*"))


@pytest.mark.parametrize(
    ("arguments", "texts", "message"),
    [
        (
            ["--pretrained", "pocket-bert"],
            ["sst2"],
            "has a masked-LM head already; use it as it is: `-p masked_lm pocket-bert`",
        ),
        (["--pretrained", "pocket-llama"], ["sst2"], "is a decoder or no text encoder (model_type 'llama')"),
        (["--pretrained", "./nowhere"], ["sst2"], "model folder './nowhere' does not exist"),
        ([], ["sst3"], "unknown dataset 'sst3'; choose from"),
        ([], ["imdb"], "has no dataset 'imdb'; found"),
        ([], ["sst2", "sst2"], "name each once"),
        (["--steps", "0"], ["sst2"], "n_steps is 0; it must lie in [1, inf]"),
        (["--seed", "-1"], ["sst2"], "seed is -1"),
        (["--masked-share", "nan"], ["sst2"], "masked_share is nan"),
        (["--max-length", "65"], ["sst2"], "max_length is 65;"),
    ],
)
def test_other_bad_input_gets_one_line(arguments, texts, message, tiny_encoder, folder, capsys):
    assert command(tiny_encoder, *arguments, texts=texts) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert not finished()


def test_without_a_data_folder_the_error_says_what_to_set(tiny_encoder, folder, monkeypatch, capsys):
    monkeypatch.setenv("FREE_LUNCH_DATA", str(folder / "nowhere"))
    assert command(tiny_encoder) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
    monkeypatch.delenv("FREE_LUNCH_DATA")
    assert command(tiny_encoder) == 2
    assert "FREE_LUNCH_DATA is not set" in capsys.readouterr().err


def test_every_field_of_the_recipe_is_part_of_its_key():
    recipe = MaskedLMRecipe("encoder", (("sst2", "abc"),), (("seed", 0),))
    changes = {"pretrained": "other", "texts": (("sst2", "abd"),), "settings": (("seed", 1),)}
    assert {field.name for field in dataclasses.fields(MaskedLMRecipe)} == set(changes)
    assert len({recipe.key, *(dataclasses.replace(recipe, **{name: value}).key for name, value in changes.items())}) == 4
