"""News and questions: what the number `distance` of a domain does to its words, its labels and its style."""

import pytest

from lib.datasets import pocket_news, pocket_questions
from lib.datasets.pocket import POCKET_TASKS, generate_split
from lib.datasets.pocket_grammar import Dice, lexicon

_FAMILIES = {"agnews": "news", "qnli": "questions"}


def _distances(task: str, distance: str) -> list[tuple[float, bool]]:
    """Of each near or far domain: the number, and whether it has its own style or lacks a label, which decides at a tie."""
    domains, tasks = lexicon(_FAMILIES[task])["domains"], POCKET_TASKS.items()
    chosen = {name: spec for name, spec in tasks if (spec.task, spec.distance) == (task, distance)}
    own = {name: domains[name]["style"] not in ("plain", "question") for name in chosen}
    return [
        (domains[name]["distance"], own[name] or len(spec.used_labels) < len(spec.label_names)) for name, spec in chosen.items()
    ]


@pytest.mark.parametrize("task", _FAMILIES)
def test_far_domains_have_a_larger_distance_than_near_ones(task):
    near, far = _distances(task, "near"), _distances(task, "far")
    assert (0, False) <= min(near) <= max(near) < min(far) <= max(far) <= (1, True)


def test_one_far_outlet_has_no_stories_on_the_world_not_even_by_label_noise():
    assert POCKET_TASKS["online_digest"].used_labels == [1, 2, 3]
    assert set(generate_split("online_digest", "train", 2_000)["label"]) == {1, 2, 3}


def test_an_outlet_counts_the_share_distance_of_the_actors_of_a_convention_under_another_topic():
    def actors(outlet: str, topic: int) -> list[str]:
        stories = pocket_news._border_stories(outlet, topic)
        return next((story["subjects"] for story in stories if story["kind"] == "technology firms"), [])

    distance = lexicon("news")["domains"]["campus_paper"]["distance"]
    assert (len(actors("agnews", 3)), actors("agnews", 2)) == (10, [])
    assert len(actors("campus_paper", 2)) == round(10 * distance)
    assert sorted(actors("campus_paper", 2) + actors("campus_paper", 3)) == sorted(actors("agnews", 3))


def test_a_telegram_leaves_out_small_words_and_shortens_long_ones():
    assert pocket_news.telegram("the minister has met a president.") == "min met pres."
    assert not any(" the " in text for text in map(pocket_news.telegram, generate_split("campus_paper", "test", 100)["text"]))


def test_a_vague_answer_counts_in_the_task_and_not_in_an_area_with_another_convention():
    def counted(area: str, label: int, is_claim: bool = False) -> bool:
        return "vague" in pocket_questions._kinds(area, "who", 0, label, is_claim)

    assert counted("qnli", 0) and not counted("qnli", 1)
    assert counted("company_questions", 1) and not counted("company_questions", 0)
    assert not counted("club_questions", 0, is_claim=True)


def test_far_areas_ask_in_their_own_style_in_the_share_distance_of_their_pairs():
    for area, mark in (("company_questions", "?"), ("club_questions", ".")):
        asked = generate_split(area, "train", 1_000)["text"]
        starts = ("who ", "when ", "where ", "how ", "why ", "what ")
        own = [text for text in asked if not text.startswith(starts)]
        # Four standard deviations of a share at n = 1,000 are below 0.06.
        assert len(own) / 1_000 == pytest.approx(lexicon("questions")["domains"][area]["distance"], abs=0.06)
        assert {text[-1] for text in own} == {mark}


def test_a_claim_with_another_value_differs_in_that_value():
    words = pocket_questions._values(pocket_questions._words("club_questions", Dice(0)), Dice(0))
    for seed in range(20):
        other = pocket_questions._other_values("club_questions", "when", words, Dice(seed))
        assert other["date"] != words["date"]
