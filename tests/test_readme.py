"""What the READMEs show works as it stands: own plugin, defenses, dataset, checkpoint, on small settings."""

import re
import shutil
import sys

import pytest

from lib.attacks import ATTACKS
from lib.defenses import DEFENSES, KINDS
from lib.paths import ROOT
from lib.study import Study

PLACES = ("README.md", "lib/defenses/README.md", "lib/merging/README.md", "data/README.md")
README, DEFENSES_README, MERGING_README, DATA_README = (ROOT / place for place in PLACES)
SMALL = {"n_train": 200, "n_test": 60, "n_validation": 60, "n_other_domains": 2, "n_jobs": 1}


def snippet(path, first_line):
    """The block of Python that begins with a comment."""
    return re.search(rf"```python\n(# {re.escape(first_line)}\n.*?)```", path.read_text("utf-8"), re.S).group(1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A user's folder, with a store of its own; what plugins register is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FREE_LUNCH_CACHE", str(tmp_path / "cache"))
    before = dict(ATTACKS), dict(DEFENSES)
    yield tmp_path
    for known, old in zip((ATTACKS, DEFENSES), before, strict=True):
        known.clear()
        known.update(old)
    for name in ("my_plugin", "my_defenses"):
        sys.modules.pop(name, None)


def small_study(*given, **settings):
    """`Study` on few texts."""
    return Study(*given, **(SMALL | settings))


def test_a_plugin_of_the_readme_attacks_and_defends(here):
    (here / "my_plugin.py").write_text(snippet(README, "my_plugin.py"))
    names = {"Study": small_study}
    exec(snippet(README, "the same in Python; in notebooks: -p plugins my_plugin.py -p attack one_word"), names)
    assert set(names["study"].score(names["guarded"], "sst2").hits) <= {0, 1}
    assert names["study"].trigger("sst2", "one_word").words == ("zx",)


def test_the_defenses_of_their_readme_are_one_of_each_kind_and_run(here, capsys):
    written = snippet(DEFENSES_README, "my_defenses.py")
    (here / "my_defenses.py").write_text(written)
    exec(snippet(DEFENSES_README, "every one of them is asked for in the same way"), {"Study": small_study})
    own = re.findall(r'DEFENSES\["(\w+)"\]', written)
    assert [DEFENSES[name].kind for name in own] == list(KINDS)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == own
    assert all(re.search(r"CACC [\d.]+%  ASR [\d.]+%  rejected [\d.]+%", line) for line in printed)


def test_a_dataset_of_the_readme_is_a_task_with_another_domain(here):
    names = {"Study": small_study}
    exec(snippet(DATA_README, "a task of my own, and another domain of it"), names)
    score = names["study"].score(names["merged"], "mails")
    assert score.cacc > 0.9 and 0 <= score.asr <= 1
    assert names["study"].other_domains("mails") == ["letters"]


def test_a_checkpoint_of_the_readme_stands_in_a_table(here):
    study = small_study("pocket")
    shutil.copytree(study.model("sst2", "badnet").folder, here / "downloads" / "suspect")
    code = snippet(MERGING_README, "a suspicious download, averaged with 1, 2, ... clean models")
    *before, last = code.strip().splitlines()
    names = {"study": study}
    exec("\n".join(before), names)
    table = eval(last, names)
    assert table["n_models"].tolist() == [1, 2, 3]
    assert table["asr"].iloc[0] == study.score(study.model("sst2", "badnet"), "sst2").asr
