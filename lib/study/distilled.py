"""Students: who teaches, where a student starts, and which texts without labels it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib.datasets import SAME_TASK_SEED_STEP
from lib.models.checkpoints import Checkpoint
from lib.study.entries import parse_entry
from lib.study.merged import MergedModel
from lib.study.recipes import DerivedRecipe, InitialRecipe, ModelRecipe
from lib.study.texts import OWN_TEXTS, plan_texts

if TYPE_CHECKING:
    from lib.study.planning import Planner
    from lib.study.study import Study

SAME, SAME_OTHER_HEAD = "same", "same_other_head"
STARTS = (SAME, SAME_OTHER_HEAD)
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
            "other_domains", of its other domains in equal parts; "general", lines of the pretraining corpus of Pocket English,
            with real data news (reviews for a task about news); or names of datasets separated by commas.
        n_texts: how many; 0: as many as the profile's `n_train`, or as the smallest of them allows.
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


def distilled(
    study: Study, teachers: Checkpoint | MergedModel | Sequence[Checkpoint | MergedModel], student: str, **settings: Any
) -> Checkpoint:
    """A student, made unless it is there; see `plan_distilled` for the arguments and errors."""
    given = [teachers] if isinstance(teachers, Checkpoint | MergedModel) else list(teachers)
    keys, origin = [study.kept(each).key for each in given], origin_of(given[0]) if given else None
    recipe = plan_distilled(study.planner, keys, origin, student, **settings)
    return replace(study.train([recipe])[0], parents=tuple(given))


def origin_of(teacher: Checkpoint | MergedModel) -> Any:
    """The recipe that says where a student of this model starts: its own, or of its first parent; None for one of elsewhere."""
    while not isinstance(teacher.recipe, ModelRecipe) and teacher.parents:
        teacher = teacher.parents[0]
    return teacher.recipe
