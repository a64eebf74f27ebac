"""Independent jobs side by side: processes of this machine, or a Ray cluster. Only joblib's backend differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lib.bars import bar
from lib.profiles import Profile
from lib.study.recipes import Recipe

if TYPE_CHECKING:
    from lib.study.artifacts import Locations


def run_jobs(
    make: Callable[..., str], recipes: Sequence[Recipe], locations: Locations, profile: Profile, title: str, unit: str
) -> None:
    """Call `make(recipe, locations, n_threads)` for every recipe, with a progress bar.

    What is finished is in the store, so a killed call loses only what was under way. Processes of a Ray cluster write to the
    same store: its folder, and the folders of models and data, must be on a file system that all nodes share.

    Args:
        make: makes one artifact unless the store has it; returns its name for the bar.
        recipes: what is to be made, in order of preference.
        locations: where data, models and the store are.
        profile: `n_jobs` at a time (0: one per core, or one on a GPU), on which `engine`, with `num_gpus` each on Ray.
        title: of the bar.
        unit: what one job makes, for the bar.

    Raises:
        ImportError: for engine "ray" where ray is not installed.
        ValueError: for a Ray cluster without room for one job.
    """
    import joblib

    n_jobs = min(_ray_slots(profile) if profile.engine == "ray" else local_jobs(profile), len(recipes))
    n_threads = 1 if profile.engine == "ray" else max(1, joblib.cpu_count() // n_jobs)
    if n_jobs == 1 and profile.engine != "ray":  # a worker would spend longer on its imports than many a pocket training takes
        for recipe in bar(_by_turns(recipes, locations), title=title, unit=unit, total=len(recipes)):
            make(recipe, locations, n_threads)
        return
    jobs = (joblib.delayed(make)(recipe, locations, n_threads) for recipe in _by_turns(recipes, locations))
    with joblib.parallel_config(**_backend(profile, n_threads)):
        # Ray's backend gives its results together: the bar stands still until the last.
        as_they_come = {} if profile.engine == "ray" else {"return_as": "generator_unordered"}
        done = joblib.Parallel(n_jobs=n_jobs, batch_size=1, **as_they_come)(jobs)
        for name in (shown := bar(done, title=title, unit=unit, total=len(recipes))):
            shown.set_postfix_str(name)


def local_jobs(profile: Profile) -> int:
    """Jobs at a time on this machine: the profile's, else one per core, or one on a GPU."""
    if profile.n_jobs:
        return profile.n_jobs
    import joblib
    import torch

    return 1 if torch.cuda.is_available() else joblib.cpu_count()


def _backend(profile: Profile, n_threads: int) -> dict[str, Any]:
    if profile.engine == "ray":
        return {"backend": "ray", "ray_remote_args": {"num_cpus": 1, "num_gpus": profile.num_gpus}}
    return {"backend": "loky", "inner_max_num_threads": n_threads}


def _ray_slots(profile: Profile) -> int:
    """How many jobs the cluster has room for. More would wait for ever, because Ray deals them out beforehand."""
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ImportError("engine 'ray' needs the package ray: pip install -e '.[ray]'") from error
    register_ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False)  # joins the cluster of RAY_ADDRESS, or starts one on this machine
    resources = ray.cluster_resources()
    room = int(resources.get("CPU", 0))
    if profile.num_gpus:
        room = min(room, int(resources.get("GPU", 0) / profile.num_gpus))
    if room < 1:
        found = {name: resources.get(name, 0) for name in ("CPU", "GPU")}
        raise ValueError(f"the Ray cluster has {found}; a job needs 1 CPU and {profile.num_gpus:g} GPU")
    return min(room, profile.n_jobs or room)


def _by_turns(recipes: Sequence[Recipe], locations: Locations) -> Iterator[Recipe]:
    """The recipes in order, but what another process makes at this moment last: notebooks side by side share the work."""
    waiting = list(recipes)
    while waiting:
        recipe = next((recipe for recipe in waiting if not locations.store.is_being_made(recipe)), waiting[0])
        waiting.remove(recipe)
        yield recipe
