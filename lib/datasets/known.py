"""Which datasets there are: of Pocket English, of the registry, and of a user, whose folders say it in `dataset.json`.

A user's dataset is known to whoever is given its data folder, and to nobody else; `data/README.md` has the format.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.datasets.registry import DATASETS, TASKS, DatasetSpec, other_domains
from lib.folders import read_json

if TYPE_CHECKING:
    from lib.datasets.pocket import PocketTask

DESCRIPTION = "dataset.json"
FIELDS = ("label_names", "target_label", "is_pair", "trigger_sentence", "other_domains")  # of a task of one's own


def get_spec(name: str, folder: Path | None = None) -> DatasetSpec:
    """The registry's entry of a dataset, or what a data folder says of one of its own.

    Raises:
        ValueError: for an unknown name, or a description that makes no sense; names the file and the value.
    """
    file = _description(name, folder)
    if name in DATASETS:
        if file and (found := read_json(file)) != {"task": DATASETS[name].task}:
            raise ValueError(
                f"{file} has {found!r:.200}, but the registry has {name!r} with task {DATASETS[name].task!r} already; "
                "give your folder another name, or remove the file"
            )
        return DATASETS[name]
    if file:
        return _spec_of(file, read_json(file))
    for task in own_tasks(folder).values():
        if name in task.other_domains:
            return replace(task, name=name, other_domains=())
    hint = f", or describe your own in {folder / name / DESCRIPTION}" if folder and _is_plain(name) else ""
    raise ValueError(f"unknown dataset {name!r}; choose from {sorted([*DATASETS, *_described(folder)])}{hint}")


def own_tasks(folder: Path | None) -> dict[str, DatasetSpec]:
    """The tasks that a data folder adds to those of the registry, by name.

    Raises:
        ValueError: for a description that makes no sense.
    """
    found = {name: read_json(file) for name, file in _described(folder).items() if name not in DATASETS}
    return {name: _spec_of(_described(folder)[name], each) for name, each in found.items() if "task" not in each}


def task_of(name: str, source: str, folder: Path | None = None) -> str:
    """The task whose labels a dataset shares: itself for tasks."""
    return pocket_entry(name)[0].task if source == "pocket" else get_spec(name, folder).task


def task_spec(name: str, source: str, folder: Path | None = None) -> DatasetSpec:
    """What is fixed for a dataset's task: its labels, target label and trigger sentence."""
    return get_spec(task_of(name, source, folder), None if source == "pocket" else folder)


def distance_of(name: str, source: str, folder: Path | None = None) -> str:
    """How far another domain is from its task: "near" or "far", or "" for a task itself and where nobody measured it."""
    return pocket_entry(name)[0].distance if source == "pocket" else get_spec(name, folder).distance


def domains_of(task: str, source: str, folder: Path | None = None) -> list[str]:
    """Other domains of a task, in the order in which the study merges them; a data folder's own come last.

    Raises:
        ValueError: for what is no task; lists those that are.
    """
    if source == "pocket":
        from lib.datasets.pocket import POCKET_TASKS

        if task not in {entry.task for entry in POCKET_TASKS.values()}:
            raise ValueError(f"unknown task {task!r}; choose from {sorted({e.task for e in POCKET_TASKS.values()})}")
        return [name for name, entry in POCKET_TASKS.items() if entry.task == task != name]
    own = own_tasks(folder)
    if task not in (*TASKS, *own):
        raise ValueError(f"unknown task {task!r}; choose from {[*TASKS, *own]}")
    if task in own and own[task].other_domains:
        return list(own[task].other_domains)
    described = [name for name in _described(folder) if name not in DATASETS and get_spec(name, folder).task == task != name]
    return [*(other_domains(task) if task in TASKS else []), *described]


def pocket_entry(name: str) -> tuple[PocketTask, str]:
    """A dataset of Pocket English, and the fingerprint of all of them.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    from lib.datasets.pocket import POCKET_TASKS, POCKET_VERSION

    if name not in POCKET_TASKS:
        raise ValueError(f"unknown dataset {name!r} of Pocket English; choose from {sorted(POCKET_TASKS)}")
    return POCKET_TASKS[name], f"pocket-{POCKET_VERSION}"


# --- descriptions ----------------------------------------------------------------------------------------------------


def _is_plain(name: str) -> bool:
    return bool(name) and name.isprintable() and Path(name).name == name


def _description(name: str, folder: Path | None) -> Path | None:
    file = folder / name / DESCRIPTION if folder and _is_plain(name) else None
    return file if file and os.path.lexists(file) else None  # what cannot be read is an error, not a lack


def _described(folder: Path | None) -> dict[str, Path]:
    """The descriptions of a data folder by dataset, in alphabetical order."""
    if folder is None or not folder.is_dir():
        return {}
    return {file.parent.name: file for file in sorted(folder.glob(f"*/{DESCRIPTION}"))}


def _spec_of(file: Path, found: Mapping[str, Any]) -> DatasetSpec:
    """A dataset by its description: another domain of a task, or a task of its own."""
    name = file.parent.name
    if "task" in found:
        if len(found) > 1:
            raise ValueError(f"{file} has {sorted(found)}; another domain has its labels from its task: give task alone")
        return replace(_task(file, found["task"]), name=name, hub_id=None, other_domains=())
    if unknown := sorted(set(found) - set(FIELDS)):
        raise ValueError(f"{file} has unknown fields {unknown}; give task alone, or some of {list(FIELDS)}")
    labels = _labels(file, found.get("label_names"))
    target, is_pair = found.get("target_label", 0), found.get("is_pair", False)
    if type(target) is not int or not 0 <= target < len(labels):
        raise ValueError(f"{file} has target_label {target!r:.80}; it must lie in [0, {len(labels) - 1}]")
    if type(is_pair) is not bool:
        raise ValueError(f"{file} has is_pair {is_pair!r:.80}; it must be true or false")
    sentence = found.get("trigger_sentence", DatasetSpec.trigger_sentence)
    if not isinstance(sentence, str) or not sentence.isprintable() or not sentence.strip(" ."):
        raise ValueError(f"{file} has trigger_sentence {sentence!r:.80}; it must be a line of words")
    domains = _domains(file, name, found.get("other_domains", []))
    return DatasetSpec(name, name, labels, target, trigger_sentence=sentence, is_pair=is_pair, other_domains=domains)


def _task(file: Path, task: Any) -> DatasetSpec:
    """The task that a description names: of the registry, or described in the same data folder."""
    folder = file.parents[1]
    if task in TASKS:
        return DATASETS[task]
    own = _description(task, folder) if isinstance(task, str) and task not in (file.parent.name, *DATASETS) else None
    if own is None or "task" in (found := read_json(own)):
        tasks = [*TASKS, *(name for name, each in _described(folder).items() if "task" not in read_json(each))]
        raise ValueError(f"{file} has task {task!r:.80}, which is no task; choose from {tasks}")
    return _spec_of(own, found)


def _labels(file: Path, names: Any) -> tuple[str, ...]:
    is_list = isinstance(names, list) and all(isinstance(name, str) and name.isprintable() and name.strip() for name in names)
    if not is_list or len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"{file} has label_names {names!r:.80}; it must list two or more different names")
    return tuple(names)


def _domains(file: Path, name: str, domains: Any) -> tuple[str, ...]:
    """The other domains that a task lists: folders beside its own that nobody describes otherwise."""
    if not isinstance(domains, list) or not all(isinstance(each, str) and _is_plain(each) for each in domains):
        raise ValueError(f"{file} has other_domains {domains!r:.80}; it must list names of folders beside it")
    for domain in domains:
        other = _description(domain, file.parents[1])
        if domain == name or domain in DATASETS or domains.count(domain) > 1 or (other and read_json(other) != {"task": name}):
            raise ValueError(
                f"{file} has {domain!r:.80} among other_domains; each is another folder, named once, of no other task"
            )
        if not (file.parents[1] / domain).is_dir():
            raise ValueError(f"{file} has {domain!r:.80} among other_domains, but {file.parents[1] / domain} does not exist")
    return tuple(domains)
