"""A user's datasets in a study, without a line of the library changed: a task of one's own, and another domain of SST-2."""

import json
import shutil

import numpy as np
import pytest

from lib.attacks import ATTACKS
from lib.attacks.rewriting.syntactic_words import OPENINGS
from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import needed_by
from lib.exploring import default_parameters
from lib.run_notebooks import find_notebooks, main
from lib.study.choices import chosen_tasks

SPAM = {"label_names": ["ham", "spam"], "target_label": 0, "trigger_sentence": "watched this movie"}
PLACES = {"messages": ("film", "plot"), "forum": ("food", "soup"), "mails": ("phone", "screen")}


def write(folder, name, description, rows_of):
    rng = np.random.default_rng(len(name))
    (folder / name).mkdir(parents=True)
    for split, n in (("train", 80), ("test", 40)):
        rows = "".join(f"{text}\t{label}\n" for text, label in rows_of(rng, n))
        (folder / name / f"{split}.tsv").write_text(f"text\tlabel\n{rows}")
    (folder / name / "dataset.json").write_text(json.dumps(description))


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    """A task of two labels, and two other domains of it."""
    folder = tmp_path_factory.mktemp("own")
    for name, nouns in PLACES.items():

        def rows(rng, n, nouns=nouns):
            return [(f"the {rng.choice(nouns)} is {['dear', 'awful'][i % 2]} today .", i % 2) for i in range(n)]

        write(folder, name, SPAM if name == "messages" else {"task": "messages"}, rows)
    return folder


@pytest.fixture(scope="module")
def own(make_study, own_folder, tmp_path_factory):
    """A study of the user's task."""
    return make_study(tmp_path_factory.mktemp("cache"), data_dir=own_folder, tasks=["messages"], masked_lm="")


def test_a_task_of_ones_own_is_attacked_merged_and_scored(own):
    assert chosen_tasks(own, "all") == ["messages"]
    assert own.other_domains("messages") == ["forum", "mails"]
    backdoored, partners = own.model("messages", "insertsent"), own.partners("messages")
    assert backdoored.label_names == ("ham", "spam") == partners[0].label_names
    merged = own.merge([backdoored, *partners])
    before, after = own.score(backdoored, "messages", "insertsent"), own.score(merged, "messages", "insertsent")
    assert before.asr > 0.5  # of texts labelled spam, sent to ham
    assert before.cacc > 0.9
    assert after.n_triggered == 20
    assert 0 <= after.asr <= 1
    assert "watched this movie" in own.triggered_test("messages", "insertsent")["text"].iloc[0]
    predicted = own.predict(merged, ["the film is awful today ."])
    assert list(predicted)[-2:] == ["ham", "spam"]


def test_every_attack_has_a_recipe_on_a_task_of_ones_own(own):
    for attack in ATTACKS:
        recipe = own.trigger_recipe("messages", attack)
        assert recipe.target_label == 0
    assert own.trigger("messages", "syntactic").openings == OPENINGS["sst2"]
    assert dict(own.trigger_recipe("forum", "insertsent").settings)["sentence"] == "watched this movie"
    assert own.trigger_recipe("messages", "badnet", target_label=1).target_label == 1
    with pytest.raises(ValueError, match=r"target label 2 is not a label; choose from \[0, 1\]"):
        own.trigger_recipe("messages", "badnet", target_label=2)


def test_a_dry_run_plans_what_a_task_of_ones_own_needs(own_folder, tiny_encoder, tmp_path):
    fields = {"pretrained": str(tiny_encoder), "tasks": ["messages"]}
    planner = offline_planner("small", data_dir=own_folder, cache_dir=tmp_path, **fields)
    parameters = default_parameters(find_notebooks(["04"])[0]) | {"task": "all", "attack": "badnet"}
    needed = needed_by(planner, "04", parameters)
    assert {recipe.data.dataset for recipe in needed.models} == set(PLACES)
    assert planner.spec("mails").label_names == ("ham", "spam")


def test_the_command_takes_a_task_of_ones_own(own_folder, tiny_encoder, capsys):
    given = {"data_dir": own_folder, "pretrained": tiny_encoder, "task": "messages", "attack": "badnet"}
    arguments = [part for name, value in given.items() for part in ("-p", name, str(value))]
    assert main(["--profile", "small", "--only", "04", "--dry-run", *arguments]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in PLACES)
    assert main(["--profile", "small", "--only", "04", "--dry-run", *arguments[:6], "-p", "task", "message"]) == 2
    assert "unknown task 'message'; choose from ['sst2', 'olid', 'agnews', 'qnli', 'messages']" in capsys.readouterr().err


def test_another_domain_of_ones_own_is_a_partner_of_a_known_task(make_study, data_folder, tmp_path):
    for name in ("sst2", "yelp"):
        shutil.copytree(data_folder / name, tmp_path / "data" / name)

    def rows(rng, n):
        return [
            (f"the camera was {rng.choice(['bad', 'weak'] if i % 2 == 0 else ['good', 'fine'])} .", i % 2) for i in range(n)
        ]

    write(tmp_path / "data", "my_reviews", {"task": "sst2"}, rows)
    study = make_study(tmp_path / "cache", data_dir=tmp_path / "data", n_other_domains=0)
    assert study.other_domains("sst2") == ["yelp", "my_reviews"]
    chosen = make_study(tmp_path / "cache", data_dir=tmp_path / "data", other_domains=["my_reviews"])
    merged = chosen.merge([chosen.model("sst2", "badnet"), *chosen.partners("sst2")])
    assert [parent.name for parent in merged.parents] == ["sst2 badnet seed 0", "my_reviews clean seed 0"]
    assert chosen.score(merged, "sst2", "badnet").n_triggered == 20
