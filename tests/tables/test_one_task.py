"""A data folder that has a task and none of its other domains: what needs no partner works, the rest says what is missing."""

import shutil

import pytest

from lib import tables
from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import PLANS, needed_by
from lib.exploring import default_parameters
from lib.run_notebooks import find_notebooks

WITHOUT_PARTNERS = {"03", "08"}


@pytest.fixture
def alone(data_folder, tmp_path):
    """A data folder with SST-2 only."""
    shutil.copytree(data_folder / "sst2", tmp_path / "data" / "sst2")
    return tmp_path / "data"


@pytest.mark.parametrize("number", PLANS)
def test_a_notebook_that_needs_partners_says_so_before_anything_is_trained(alone, tiny_encoder, tmp_path, number):
    planner = offline_planner("small", data_dir=alone, cache_dir=tmp_path / "cache", pretrained=str(tiny_encoder))
    parameters = default_parameters(find_notebooks([number])[0])
    if number in WITHOUT_PARTNERS:
        assert needed_by(planner, number, parameters).models
        return
    with pytest.raises(ValueError, match=r"'sst2' has no other domain to merge with: .* none of \['yelp', .*found \['sst2'\]"):
        needed_by(planner, number, parameters)


def test_texts_and_losses_of_a_task_alone_can_be_shown(make_study, alone, tmp_path):
    study = make_study(tmp_path / "cache", data_dir=alone)
    assert tables.tasks_table(study, ["sst2"])["dataset"].tolist() == ["sst2"]
    assert set(tables.loss_curves(study, "sst2", ["badnet"])["attack"]) == {"clean", "badnet"}
