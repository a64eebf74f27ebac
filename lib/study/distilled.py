"""Students: who teaches, where a student starts, and which texts without labels it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib.datasets import PRETRAINING, SAME_TASK_SEED_STEP, get_spec
from lib.models.checkpoints import Checkpoint
from lib.study.entries import parse_entry
from lib.study.merged import MergedModel
from lib.study.recipes import DataRecipe, DerivedRecipe, InitialRecipe, ModelRecipe, TextsRecipe

if TYPE_CHECKING:
    from lib.study.planning import Planner

SAME, SAME_OTHER_HEAD = "same", "same_other_head"
STARTS = (SAME, SAME_OTHER_HEAD)
OWN_TEXTS, OTHER_DOMAINS, GENERAL = "own", "other_domains", "general"
TEXTS = (OWN_TEXTS, OTHER_DOMAINS, GENERAL)
OTHER_HEAD_SEED = 20_000  # added to the head's seed: a head that no other model of the study has


def plan_distilled(
    planner: Planner,
    teachers: Sequence[str],
    origin: Any,
    student: str = SAME,
    texts: str = OWN_TEXTS,
    n_texts: int = 0,
    dataset: str = "",
    seed: int | None = None,
    **settings: Any,
) -> DerivedRecipe:
    """What determines a student.

    Args:
        planner: knows the profile.
        teachers: keys of models; a student of several learns the mean of their probabilities.
        origin: recipe of the first teacher: "same" and the defaults below are its.
        student: where it starts: "same", the pretrained model and head that the first teacher started from;
            "same_other_head", that model with another head; or an entry such as "pocket-roberta" or
            "pocket-bert-large learning_rate=8e-4", a pretrained model with the teacher's `head_seed`, which is also where its
            partners start.
        texts: "own", training texts of the dataset that no model of the seed was trained on, without their labels;
            "other_domains", of its other domains in equal parts; "general", lines of the pretraining corpus of Pocket English;
            or names of datasets separated by commas.
        n_texts: how many; 0: as many as the profile's `n_train`.
        dataset: default the first teacher's.
        seed: of the texts, their order and dropout; default the first teacher's.
        settings: `temperature` and `epochs` of `lib.models.distillation.distil`.

    Raises:
        ValueError: for no teacher, an unknown start, texts or setting, a number of texts that cannot be, or a first teacher of
            elsewhere where something of its training is needed.
    """
    if not teachers:
        raise ValueError("no teacher to learn from; give at least one model")
    if not isinstance(origin, ModelRecipe):
        raise ValueError("the first teacher was not trained in this study: where its student starts is not known")
    drawn, task = origin.seed % SAME_TASK_SEED_STEP if seed is None else seed, dataset or origin.data.dataset
    trainer, start = _start(planner, origin, student)
    read = plan_texts(planner, task, texts, n_texts, drawn)
    return trainer.derived("distil", teachers, read, drawn, start, **settings)


def _start(planner: Planner, origin: ModelRecipe, student: str) -> tuple[Planner, InitialRecipe]:
    """The planner of the profile in which a student is trained, and the student before it."""
    own = planner.initial_recipe(origin)
    if student == SAME:
        return planner, own
    if student == SAME_OTHER_HEAD:
        return planner, replace(own, head_seed=own.head_seed + OTHER_HEAD_SEED)
    name, fields = parse_entry(student, "pocket-bert-large learning_rate=8e-4")
    try:
        trainer = planner.variant(pretrained=name, **fields)
        return trainer, InitialRecipe(trainer.fingerprint(name), own.label_names, own.head_seed)
    except (ValueError, ConnectionError) as error:
        raise ValueError(f"student is {student!r}; give one of {list(STARTS)}, or a pretrained model: {error}") from error


def plan_texts(planner: Planner, task: str, texts: str, n: int, seed: int) -> TextsRecipe:
    """The texts that a student reads; see `plan_distilled` for the arguments and errors."""
    parts = _parts(planner, task, texts, seed)
    n_all = n or planner.profile.n_train or min(part.n for part in parts) * len(parts)
    of_each = n_all // len(parts)
    most = min((part.n for part in parts if part.n), default=of_each)
    if n < 0 or not 1 <= of_each <= most:
        raise ValueError(
            f"n_texts is {n}, {of_each} from each of {len(parts)} sources; from 1 to {most} are possible: the profile's n_train"
        )
    return TextsRecipe(parts, of_each)


def _parts(planner: Planner, task: str, texts: str, seed: int) -> tuple[DataRecipe, ...]:
    if texts == OWN_TEXTS:  # the rows of the first partner on the same task: the first teacher has not seen them
        return (planner.data(task, "train", seed + SAME_TASK_SEED_STEP),)
    if texts == OTHER_DOMAINS:
        names: Sequence[str] = planner.other_domains(task)
    elif texts == GENERAL:
        if planner.profile.source != "pocket":
            raise ValueError("general texts are the pretraining lines of Pocket English; for real data name datasets instead")
        return (replace(planner.data(task, "train", seed), split=PRETRAINING),)
    else:
        names = [name.strip() for name in texts.split(",")]
        for name in names:
            try:
                get_spec(name, planner.locations.data_dir)
            except ValueError as error:
                raise ValueError(f"texts is {texts!r}; give one of {list(TEXTS)}, or datasets: {error}") from error
    return tuple(planner.data(name, "train", seed) for name in names)


def origin_of(teacher: Checkpoint | MergedModel) -> Any:
    """The recipe that says where a student of this model starts: its own, or of its first parent; None for one of elsewhere."""
    while not isinstance(teacher.recipe, ModelRecipe) and teacher.parents:
        teacher = teacher.parents[0]
    return teacher.recipe
