"""Other pretrained models, adapters and heads: entries are read, the right models are merged, and the figures show them."""

import matplotlib.pyplot as plt
import pytest
from transformers import BertConfig, BertModel

from lib.models.pretrained import load_tokenizer
from lib.plots.architectures import plot_architectures, plot_heads
from lib.profiles import PROFILES, get_profile
from lib.tables.architectures import architecture_name, architectures_table, heads_table, parse_architecture


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
    with pytest.raises(ValueError, match=r"is not a pretrained model followed by field=value, such as 'gpt2 lora_rank=8'"):
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
    asr, cacc = figure.get_axes()
    names = [label.get_text() for label in asr.get_yticklabels()]
    assert names == list(dict.fromkeys(table["architecture"]))
    dots = {container.get_label(): container.lines[0].get_xdata().tolist() for container in asr.containers}
    assert dots["victim alone"] == pytest.approx((table[table["n_models"] == 1]["asr"] * 100).tolist())
    assert dots["average of all models"] == pytest.approx((table[table["n_models"] == 3]["asr"] * 100).tolist())
    assert {"victim alone", "average of all models", "CACC of a clean model"} == set(cacc.get_legend_handles_labels()[1])
    figure = plot_heads(heads)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[:2] == ["all start from one head", "each partner starts from its own"]
    plt.close("all")
