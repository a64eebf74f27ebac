"""The playground: one sentence, one trigger, and what the clean, the backdoored and the merged model make of them."""

from __future__ import annotations

from lib.models.attribution import Attribution, word_attributions
from lib.models.model import Model
from lib.notebook.attribution_view import changed_places, side_by_side
from lib.study.study import Study

N_DRAWS = 16  # of the trigger: the one that changes the fewest words is shown


def playground_models(study: Study, task: str, attack: str, seed: int = 0) -> dict[str, Model]:
    """The clean model, the backdoored one, and its average with the models of the other domains; missing ones are made."""
    recipes = [study.recipe(task, seed=seed), study.recipe(task, attack, seed)]
    clean, backdoored, *others = study.train([*recipes, *study.partner_recipes(task, "other_domains", seed)])
    return {"clean": clean, "backdoored": backdoored, "merged": study.merge([backdoored, *others])}


def short_trigger(study: Study, task: str, attack: str, text: str, seed: int = 0) -> str:
    """The text with the trigger, in the draw that changes the fewest words, the first among equals.

    BadNet puts in one, three or five words. Where three stand, leaving out one of them changes nothing: the other two decide.
    """
    draws = study.apply_trigger(task, attack, [text] * N_DRAWS, seed)
    return min(draws, key=lambda drawn: (len(changed_places(text, drawn)), draws.index(drawn)))


def example_text(study: Study, task: str, seed: int = 0) -> tuple[str, str]:
    """A test text that is not of the target label, and its other text, "" if the task has no pairs."""
    rows = study.rows(task, "test", seed)
    row = rows[rows["label"] != study.planner.spec(task).target_label].iloc[0]
    return str(row["text"]), str(row.get("text_pair", ""))


def playground_html(
    study: Study, task: str, attack: str, text: str, text_pair: str = "", seed: int = 0, models: dict[str, Model] | None = None
) -> str:
    """The models' answers to a text as it is and with the trigger, side by side, as HTML without script.

    Args:
        study: makes what is missing.
        task: a task of the profile.
        attack: a key of `ATTACKS`.
        text: what somebody typed; it is shown escaped.
        text_pair: the other text of a task of pairs; "" for a text of its own.
        seed: of the models and the trigger.
        models: by name; default `playground_models`.

    Raises:
        ValueError: for a text without a word.
    """
    if not text.strip():
        raise ValueError("type a sentence: there is no word to look at")
    text = " ".join(text.split())
    target = study.planner.spec(task).target_label
    triggered = short_trigger(study, task, attack, text, seed)
    pairs = [text_pair, text_pair] if text_pair else None
    plain: dict[str, Attribution] = {}
    attacked: dict[str, Attribution] = {}
    for name, model in (models or playground_models(study, task, attack, seed)).items():
        length = study.profile.max_length
        plain[name], attacked[name] = word_attributions(model, [text, triggered], length, pairs, label=target)
    return side_by_side(plain, attacked, study.planner.spec(task).label_names, changed_places(text, triggered))
