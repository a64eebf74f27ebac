"""A user's module brings attacks, merge methods and defenses to every worker, and says why when it cannot."""

import sys

import pytest

from lib.attacks import ATTACKS, badnet
from lib.merging import MERGE_METHODS
from lib.study.plugins import load_plugins, resolve_plugins, version_of

PLUGIN = """
from lib.attacks import ATTACKS, badnet
from lib.defenses import DEFENSES, Defense
from lib.merging import MERGE_METHODS, MergeMethod

def fit_trigger(train, target_label, *, words=("{word}",), seed=0) -> badnet.BadNetTrigger:
    return badnet.BadNetTrigger(tuple(words), (1,))

def first(tensors):
    return tensors[0].clone()

ATTACKS["own_word"] = fit_trigger
MERGE_METHODS["first_of_all"] = MergeMethod(first, "found")
DEFENSES["own_defense"] = Defense("merging", lambda models: {{"method": "first_of_all"}})
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A user's file; the dictionaries are as before afterwards."""
    from lib.defenses import DEFENSES

    for known in (ATTACKS, MERGE_METHODS, DEFENSES):
        for name in ("own_word", "first_of_all", "own_defense"):
            monkeypatch.setitem(known, name, None)
            monkeypatch.delitem(known, name)
    path = tmp_path / "my_plugin.py"
    path.write_text(PLUGIN.format(word="zyx"))
    yield path
    sys.modules.pop("my_plugin", None)


def test_a_plugin_brings_attacks_methods_and_defenses_to_every_worker(make_study, plugin, tmp_path):
    study = make_study(tmp_path / "cache", plugins=str(plugin), n_train=40, epochs=1, n_jobs=2)
    models = study.train([study.recipe("sst2", "own_word"), study.recipe("sst2"), study.recipe("sst2", "own_word", 1)])
    assert study.poisoned_train("sst2", "own_word").query("is_poisoned")["text"].str.contains("zyx").all()
    merged = study.merge(models[:2], "first_of_all")
    scores = [study.score(model, "sst2") for model in (merged, models[0])]
    assert (scores[0].correct, scores[0].hits) == (scores[1].correct, scores[1].hits)
    assert study.defend("own_defense", models[0], models[1:2]) == merged


def test_a_changed_plugin_serves_nothing_that_the_old_one_made(make_study, plugin, tmp_path):
    study = make_study(tmp_path / "cache", plugins=str(plugin))
    before = study.recipe("sst2", "own_word").key
    plugin.write_text(plugin.read_text() + "\n# changed\n")
    assert study.recipe("sst2", "own_word").key != before
    assert version_of(badnet.fit_trigger, 1) == 1  # ours say their versions themselves


def test_plugins_that_cannot_be_imported_say_why(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"plugin 'nowhere.py' does not exist"):
        resolve_plugins("json, nowhere.py")
    with pytest.raises(ValueError, match="plugin 'no_such_module' could not be imported: ModuleNotFoundError"):
        load_plugins(["no_such_module"])
    broken = tmp_path / "broken_plugin.py"
    broken.write_text("1 / 0")
    with pytest.raises(ValueError, match="could not be imported: ZeroDivisionError"):
        load_plugins([str(broken)])
    assert "broken_plugin" not in sys.modules
    clash = tmp_path / "json.py"
    clash.write_text("")
    with pytest.raises(ValueError, match="another module is called 'json'"):
        load_plugins([str(clash)])
