"""Pocket English question answering: the entailment task (like QNLI) in six subject areas, each at its own distance.

`distance`, a number in [0, 1] of each area in the lexicon, says how far its pairs are from those of the task. It is

- the share of people, places and reasons from the area's own words instead of the shared ones,
- the share of questions for which the area has another idea of an answer, in the kinds of pair named in `conventions`
  (a vague answer, a sentence that says that nobody knows, a fact of the right sort that was not asked for),
- the share of pairs in the area's own `style`: "query" (a few words instead of a question) or "claim" (a statement
  that the sentence supports or not, as in natural language inference), where that is not "question".
"""

import re
from collections.abc import Mapping
from typing import Any

from lib.datasets.pocket_grammar import Dice, Words, expand, lexicon, sentence, with_articles

# Share of the pairs of a kind that areas count differently, where the question allows one.
DISPUTED_SHARE = 0.36
# Share of the facts that are told vaguely, where this does not decide the label.
VAGUE_SHARE = 0.18
# Share of the claims that fail because the sentence gives another value (another number, place or person).
OTHER_VALUE_SHARE = 0.15

_RELATIONS = ("who", "when", "where", "how_many", "why", "what")
_N_WORDINGS = 4
_SLOT_OF = {
    "who": "people", "when": "date", "where": "places", "how_many": "numbers", "why": "reasons", "what": "substances",
}  # fmt: skip
# How an indirect question starts, where one can be made of an answer by leaving out what was asked.
_INDIRECT = {"who": "by whom", "when": "when", "where": "where", "why": "why"}
# In these relations the first wordings ask for different facts (who designed it, who paid for it).
_WITH_NEAR_MISS, _N_DISTINCT = ("who", "how_many"), 3
# What each kind of disputed pair is in the task itself: 0 entailment, 1 not_entailment.
_LABEL_OF_KIND = {"vague": 0, "unknown": 1, "near_miss": 1}


def _area(name: str) -> Mapping[str, Any]:
    return lexicon("questions")["domains"][name]


def _words(area_name: str, dice: Dice) -> dict[str, Any]:
    """The words for every slot of an answer, the area's own or the shared ones."""
    shared, area = lexicon("questions")["shared"], _area(area_name)
    words = {**shared, "date": ("{seasons} {years}",), "substances": area["substances"]}
    for slot, own in area["own"].items():
        if dice.chance(area["distance"]):
            words[slot] = own
    return words


def _values(words: Words, dice: Dice) -> dict[str, str]:
    """One value for each slot, so that two sentences can name the same ones."""
    return {slot: expand(f"{{{slot}}}", words, dice) for slot in _SLOT_OF.values()}


def _vague_value(relation: str, dice: Dice) -> str:
    return dice.choose(lexicon("questions")["shared"]["vague"][_SLOT_OF[relation]])


def question(area_name: str, relation: str, wording: int, subject: str) -> str:
    """A question about one subject; the relation is one of who, when, where, how_many, why, what, each in some wordings."""
    return _area(area_name)["relations"][relation]["questions"][wording].replace("{s}", subject)


def _prompt(area_name: str, relation: str, wording: int, subject: str, words: Words, own_style: bool, dice: Dice) -> str:
    """A question, or what the area has instead of one."""
    if not own_style:
        return question(area_name, relation, wording, subject)
    template = _area(area_name)["relations"][relation]["styled"][wording]
    return with_articles(expand(template, {**words, "s": subject}, dice))


def _in_own_style(area_name: str, dice: Dice) -> bool:
    return _area(area_name)["style"] != "question" and dice.chance(_area(area_name)["distance"])


def statement(area_name: str, relations: tuple[str, ...], wording: int, subject: str, words: Words, dice: Dice) -> str:
    """A sentence that states one fact per relation about the subject, in this order.

    The answer with the number of the question's wording is the one that answers it, so every fact takes that number.
    """
    known = _area(area_name)["relations"]
    facts = [expand(known[relation]["answers"][wording], words, dice) for relation in relations]
    return _told(f"the {subject} {' and '.join(facts)}", dice)


def _told(text: str, dice: Dice) -> str:
    if dice.chance(0.25):
        text = f"{dice.choose(lexicon('questions')['shared']['asides'])} {text}"
    return with_articles(sentence(text))


def _unknown(area_name: str, relation: str, wording: int, subject: str, dice: Dice) -> str:
    """A sentence that says that the answer is not known."""
    answer = _area(area_name)["relations"][relation]["answers"][wording]
    told = re.sub(r"(?: by)? \{\w+\}$", "", answer)
    return f"{dice.choose(lexicon('questions')['shared']['unknowns'])} {_INDIRECT[relation]} the {subject} {told}."


def _facts(relation: str, answered: bool, dice: Dice) -> tuple[str, ...]:
    """One or two relations for a statement that answers, or does not answer, a question about `relation`."""
    others = [other for other in _RELATIONS if other != relation]
    first, second = dice.choose_two(others)
    if not answered:
        return (first, second) if dice.chance(0.12) else (first,)
    if dice.chance(0.88):
        return (relation,)
    return (relation, first) if dice.chance(0.5) else (first, relation)


def _kinds(area_name: str, relation: str, wording: int, label: int, is_claim: bool) -> list[str]:
    """The kinds of disputed pair that this area gives the label, and that the question allows; none supports a claim."""
    area = _area(area_name)
    position = _RELATIONS.index(relation) * _N_WORDINGS + wording
    differs = position < area["distance"] * len(_RELATIONS) * _N_WORDINGS
    allowed = {
        "vague": True,
        "unknown": relation in _INDIRECT,
        "near_miss": relation in _WITH_NEAR_MISS and wording < _N_DISTINCT,
    }

    def counted_as(kind: str) -> int:
        usual = _LABEL_OF_KIND[kind]
        if is_claim:
            return 1
        return 1 - usual if differs and kind in area["conventions"] else usual

    return [kind for kind in _LABEL_OF_KIND if allowed[kind] and counted_as(kind) == label]


def _disputed(kind: str, area_name: str, relation: str, wording: int, subject: str, words: Words, dice: Dice) -> str:
    """A sentence of one kind of disputed pair."""
    if kind == "unknown":
        return _unknown(area_name, relation, wording, subject, dice)
    if kind == "near_miss":
        wording = dice.choose([other for other in range(_N_DISTINCT) if other != wording])
        return statement(area_name, (relation,), wording, subject, words, dice)
    words = {**words, _SLOT_OF[relation]: _vague_value(relation, dice)}
    return statement(area_name, _facts(relation, True, dice), wording, subject, words, dice)


def _other_values(area_name: str, relation: str, words: Words, dice: Dice) -> Words:
    """Values of which that of the relation is not the given one."""
    slot = _SLOT_OF[relation]
    while (others := _values(_words(area_name, dice), dice))[slot] == words[slot]:
        pass
    return others


def draw_pair(area_name: str, dice: Dice) -> tuple[str, str, int]:
    """A random question, a sentence, and whether the sentence answers it (0 entailment, 1 not_entailment).

    A sentence fails to answer because it tells something else about the subject, or the same thing about another subject,
    or says that nobody knows; a claim fails also where the sentence gives another value.
    """
    label = int(dice.chance(0.5))
    subject, other_subject = dice.choose_two(_area(area_name)["subjects"])
    relation, wording = dice.choose(_RELATIONS), dice.choose(range(_N_WORDINGS))
    words: Words = _words(area_name, dice)
    own_style = _in_own_style(area_name, dice)
    is_claim = own_style and _area(area_name)["style"] == "claim"
    if is_claim:
        words = _values(words, dice)
    prompt = _prompt(area_name, relation, wording, subject, words, own_style, dice)
    kinds = _kinds(area_name, relation, wording, label, is_claim)
    if kinds and dice.chance(DISPUTED_SHARE):
        return prompt, _disputed(dice.choose(kinds), area_name, relation, wording, subject, words, dice), label
    # Comparing two subjects is beyond a model of two layers: few examples depend on it.
    is_about_other = bool(label) and dice.chance(0.1)
    has_other_value = bool(label) and is_claim and dice.chance(OTHER_VALUE_SHARE)
    answered = not label or is_about_other or has_other_value
    facts = _facts(relation, answered=answered, dice=dice)
    if has_other_value:
        words = _other_values(area_name, relation, words, dice)
    elif not answered and dice.chance(VAGUE_SHARE):
        words = {**words, _SLOT_OF[facts[0]]: _vague_value(facts[0], dice)}
    stated = statement(area_name, facts, wording, other_subject if is_about_other else subject, words, dice)
    return prompt, stated, label


def question_passage(area_name: str, dice: Dice) -> list[str]:
    """Unlabelled pretraining text: six questions on two subjects, each with its answer as a tab-separated pair."""
    subjects = dice.choose_two(_area(area_name)["subjects"])
    pairs = []
    for relation in dict.fromkeys(dice.choose(_RELATIONS) for _ in range(4)):
        for subject in subjects:
            wording, words = dice.choose(range(_N_WORDINGS)), _values(_words(area_name, dice), dice)
            stated = statement(area_name, _facts(relation, answered=True, dice=dice), wording, subject, words, dice)
            asked = _prompt(area_name, relation, wording, subject, words, _in_own_style(area_name, dice), dice)
            pairs.append(f"{asked}\t{stated}")
    return pairs
