"""Other pretrained models, adapters and heads: entries are read, the right models are merged, and the figures show them."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from transformers import BertConfig, BertModel

from lib.models.pretrained import load_tokenizer
from lib.plots.architectures import plot_architectures, plot_heads
from lib.profiles import PROFILES, get_profile
from lib.tables.architectures import (
    architecture_name,
    architectures_table,
    heads_table,
    parse_architecture,
    recipe_of,
    size_findings,
)

RECIPES = ("common", "tuned")


@pytest.fixture(scope="module")
def other_encoder(tiny_encoder, tmp_path_factory):
    """A random encoder of one layer with the tiny encoder's vocabulary, in a folder whose name has a blank."""
    folder = tmp_path_factory.mktemp("models") / "one layer"
    tokenizer = load_tokenizer(str(tiny_encoder))
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def entries(tiny_encoder, other_encoder):
    return [str(tiny_encoder), f"'{other_encoder}' epochs=1", f"{tiny_encoder} lora_rank=4 learning_rate=2e-2"]


@pytest.fixture(scope="module")
def table(study, entries):
    with pytest.warns(UserWarning, match="unstable training"):  # one epoch of the one-layer encoder learns nothing, and says so
        return architectures_table(study, "sst2", ["badnet"], entries)


@pytest.fixture(scope="module")
def heads(study):
    return heads_table(study, "sst2", ["badnet"])


def test_an_entry_is_a_pretrained_model_and_the_fields_that_differ_with_it():
    assert parse_architecture("org/model lora_rank=8 learning_rate=2e-4 text_format=as_is") == {
        **{"pretrained": "org/model", "lora_rank": 8, "learning_rate": 2e-4, "text_format": "as_is"},
    }
    assert parse_architecture("'a folder/model'") == {"pretrained": "a folder/model"}
    assert architecture_name("org/model lora_rank=8") == "model, LoRA 8"
    assert architecture_name("/a/b/model/ lora_rank=0") == "model"


@pytest.mark.parametrize("text", ["", "lora_rank=8", "gpt2 8", "gpt2 lora_rank 8"])
def test_entries_that_cannot_be_read_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"is not a name followed by field=value, such as 'gpt2 lora_rank=8'"):
        parse_architecture(text)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_entries_of_every_profile_are_fields_of_a_profile(profile):
    entries = PROFILES[profile].architectures
    assert len(entries) == len(set(entries)) > 1
    for entry in entries:
        get_profile(profile, **parse_architecture(entry))


def test_every_entry_has_its_victim_alone_and_its_averages(table, study, entries, backdoored):
    assert list(dict.fromkeys(table["architecture"])) == [architecture_name(entry) for entry in entries]
    assert table["n_models"].tolist() == [1, 2, 3] * 3
    first = table.iloc[0]
    score = study.score(backdoored, "sst2", "badnet")
    assert (first["asr"], first["cacc"], first["backdoored_asr"]) == (score.asr, score.cacc, score.asr)
    merged = study.score(study.merge([backdoored, study.model("yelp"), study.model("cr")]), "sst2", "badnet")
    assert (table["asr"].iloc[2], table["cacc"].iloc[2]) == (merged.asr, merged.cacc)
    assert table["lora_rank"].tolist() == [0] * 6 + [4] * 3
    sizes = table.groupby("architecture", sort=False)["n_parameters"].first().tolist()
    assert sizes[0] == sizes[2] > sizes[1] > 0  # adapters are added to the weights


def test_partners_have_the_victims_head_or_each_its_own(heads, study, backdoored):
    assert heads.groupby("heads", sort=False)["n_models"].apply(list).to_dict() == {"shared": [1, 2, 3], "own": [1, 2, 3]}
    rows = heads.set_index(["heads", "n_models"])
    assert rows.loc[("shared", 1), "asr"] == rows.loc[("own", 1), "asr"] == study.score(backdoored, "sst2", "badnet").asr
    recipes = [study.recipe("yelp", head_seed=10_000), study.recipe("cr", head_seed=20_000)]
    assert all(study.store.has(recipe) for recipe in recipes)
    own = study.score(study.merge([backdoored, *study.train(recipes)]), "sst2", "badnet")
    assert rows.loc[("own", 3), "cacc"] == own.cacc


def test_figures_show_every_entry_and_both_kinds_of_heads(table, heads):
    figure = plot_architectures(table)
    asr, change = figure.get_axes()
    names = [label.get_text() for label in asr.get_yticklabels()]
    assert names == list(dict.fromkeys(table["architecture"]))
    alone, merged = table[table["n_models"] == 1], table[table["n_models"] == 3]
    before, after = (container.lines[0] for container in asr.containers)
    assert before.get_markerfacecolor() == "white" and after.get_markerfacecolor() != "white"
    assert before.get_xdata().tolist() == pytest.approx((alone["asr"] * 100).tolist())
    assert after.get_xdata().tolist() == pytest.approx((merged["asr"] * 100).tolist())
    names = ["backdoored model alone", "average with clean models", "clean model"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    # The change of the CACC has an axis of its own: the backdoored model lies at 0, and a clean one where it is better.
    assert change.get_xlabel() == "change of the CACC, points"
    before, after = (container.lines[0] for container in change.containers)
    assert set(before.get_xdata()) == {0}
    assert after.get_xdata().tolist() == pytest.approx((merged["cacc_change"] * 100).tolist())
    [clean] = [line for line in change.get_lines() if line.get_label() == "clean model"]
    assert clean.get_xdata().tolist() == pytest.approx(((alone["clean_model_cacc"] - alone["cacc"]) * 100).tolist())
    figure = plot_heads(heads)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["all start from one head", "each partner starts from its own"]
    plt.close("all")


def sizes(recipe="common", lora_rank=0):
    """Two sizes of one family before and after a merge with one partner."""
    rates = {"backdoored_asr": 1.0, "asr_floor": 0.1, "clean_model_cacc": 0.9, "cacc_change_vs_clean": -0.05}
    rows = [
        {"architecture": name, "recipe": recipe, "model_type": "bert", "lora_rank": lora_rank, "n_parameters": n, **rates}
        | {"n_models": n_models, "asr": asr, "asr_rise": asr - 0.1, "cacc": 0.85}
        for name, n, after in (("small", 500_000, 0.3), ("large", 2_000_000, 0.5))
        for n_models, asr in ((1, 1.0), (2, after))
    ]
    return pd.DataFrame(rows)


def test_sizes_are_compared_within_one_recipe_only():
    [found] = size_findings(sizes())
    assert found == (
        "Sizes of bert by the common recipe, in weights: "
        "0.50 million: ASR 100.0% to 30.0% (+20.0 points above its own rate), CACC 85.0%, -5.0 points from a clean model; "
        "2.00 million: ASR 100.0% to 50.0% (+40.0 points above its own rate), CACC 85.0%, -5.0 points from a clean model."
    )
    both = pd.concat([sizes(), sizes("tuned").assign(asr=0.7)])
    assert [text.split(" recipe")[0] for text in size_findings(both)] == [
        "Sizes of bert by the common",
        "Sizes of bert by the tuned",
    ]
    mixed = pd.concat([sizes()[:2], sizes("tuned")[2:]])
    assert list(size_findings(mixed)) == [
        "No family has several sizes that were trained by one recipe: nothing is said about size."
    ]
    assert "nothing is said" in next(size_findings(sizes(lora_rank=8)))


def test_a_model_of_two_recipes_has_two_lines(table):
    twice = pd.concat([table, table[table["recipe"] == "common"].assign(recipe="tuned", n_unstable=0)])
    names = [label.get_text() for label in plot_architectures(twice).get_axes()[0].get_yticklabels()]
    first, *rest = dict.fromkeys(table["architecture"])
    assert names[0] == f"{first}, common recipe" and names[-1] == f"{first}, tuned recipe"
    assert set(rest) <= set(names)
    plt.close("all")


def test_an_entry_says_by_which_recipe_it_was_trained(table):
    assert table["recipe"].tolist() == ["common"] * 3 + ["tuned"] * 6
    assert table["epochs"].tolist() == [8.0] * 3 + [1.0] * 3 + [8.0] * 3
    assert set(table["model_type"]) == {"bert"}
    # Sizes of the bundled models stand in the profile by tuned recipes, all of them; nothing is compared across recipes.
    entries = PROFILES["pocket"].architectures
    by_recipe = {
        kind: {parse_architecture(each)["pretrained"] for each in entries if recipe_of(each) == kind} for kind in RECIPES
    }
    sizes = {"pocket-bert-small", "pocket-bert", "pocket-bert-large"}
    assert sizes <= by_recipe["tuned"] and len(sizes & by_recipe["common"]) == 1
