"""Jobs side by side: their order, how many there are at a time, and what a Ray cluster must have."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from lib.profiles import PROFILES, get_profile
from lib.study import parallel


@pytest.fixture
def recipes():
    """Stand-ins for recipes, known by their names."""
    return [SimpleNamespace(name=name) for name in "abcd"]


class Locations(SimpleNamespace):
    """Locations whose store says what another process is making."""

    def __init__(self, busy=()):
        super().__init__(busy=list(busy))
        self.store = SimpleNamespace(is_being_made=lambda recipe: recipe.name in self.busy)


def names(recipes):
    return [recipe.name for recipe in recipes]


def test_what_another_process_makes_at_this_moment_comes_last(recipes):
    locations = Locations(busy="ac")
    assert names(parallel._by_turns(recipes, locations)) == ["b", "d", "a", "c"]
    order = parallel._by_turns(recipes, locations)
    assert next(order).name == "b"
    locations.busy.clear()  # the other process is done
    assert names(order) == ["a", "c", "d"]


def test_one_job_at_a_time_runs_here_in_order_with_all_threads(recipes, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    done = []
    make = lambda recipe, locations, n_threads: done.append((recipe.name, n_threads)) or recipe.name  # noqa: E731
    parallel.run_jobs(make, recipes, Locations(), get_profile("pocket", n_jobs=1), "making", "thing")
    assert done == [("a", 6), ("b", 6), ("c", 6), ("d", 6)]


def test_the_profile_says_how_many_jobs_run_at_a_time(monkeypatch):
    assert parallel.local_jobs(get_profile("pocket", n_jobs=3)) == 3
    monkeypatch.setattr("joblib.cpu_count", lambda: 5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert parallel.local_jobs(PROFILES["pocket"]) == 5
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert parallel.local_jobs(PROFILES["pocket"]) == 1


def test_ray_that_is_not_installed_is_named_with_the_way_to_install_it(recipes, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"engine 'ray' needs the package ray: pip install -e '\.\[ray\]'"):
        parallel.run_jobs(lambda *_: "", recipes, Locations(), get_profile("pocket", engine="ray"), "making", "thing")


@pytest.fixture
def cluster(monkeypatch):
    """A stand-in for ray with a cluster of given resources."""
    resources = {"CPU": 8.0, "GPU": 2.0}
    ray, util, backend = ModuleType("ray"), ModuleType("ray.util"), ModuleType("ray.util.joblib")
    ray.is_initialized, ray.init, ray.cluster_resources = lambda: True, None, lambda: resources
    backend.register_ray = lambda: None
    for module in (ray, util, backend):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return resources


@pytest.mark.parametrize(
    ("settings", "slots"),
    [({}, 8), ({"num_gpus": 1}, 2), ({"num_gpus": 0.25}, 8), ({"num_gpus": 0.5}, 4), ({"n_jobs": 3}, 3), ({"n_jobs": 30}, 8)],
)
def test_no_more_jobs_than_the_cluster_has_room_for(cluster, settings, slots):
    assert parallel._ray_slots(get_profile("paper", engine="ray", **settings)) == slots


def test_a_cluster_without_room_for_one_job_is_refused_instead_of_waiting_for_ever(cluster):
    cluster["GPU"] = 0.0
    with pytest.raises(ValueError, match=r"the Ray cluster has {'CPU': 8.0, 'GPU': 0.0}; a job needs 1 CPU and 1 GPU"):
        parallel._ray_slots(get_profile("paper", engine="ray", num_gpus=1))


def test_the_engine_changes_no_key(quick_recipe):
    recipe, on_ray = quick_recipe
    assert recipe.key == on_ray.key


@pytest.fixture
def quick_recipe(study):
    return study.recipe("sst2"), study.variant(engine="ray", num_gpus=0.5).recipe("sst2")


@pytest.mark.slow
def test_a_training_on_a_ray_cluster_is_that_of_this_machine(make_study, clean, tmp_path):
    pytest.importorskip("ray")
    study = make_study(tmp_path / "cache", engine="ray")
    models = study.train([study.recipe("sst2"), study.recipe("yelp")])
    assert models[0].key == clean.key
    assert models[0].record["losses"] == pytest.approx(clean.record["losses"], abs=1e-3)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match=r"engine is 'dask'; choose from \('processes', 'ray'\)"):
        get_profile("pocket", engine="dask")
    with pytest.raises(ValueError, match=r"num_gpus is -1"):
        get_profile("pocket", num_gpus=-1)
