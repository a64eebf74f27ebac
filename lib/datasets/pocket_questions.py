"""Pocket English question answering: the entailment task (like QNLI) in six subject areas."""

from lib.datasets.pocket_grammar import Dice, Words, expand, lexicon, sentence, with_articles

_RELATIONS = ("who", "when", "where", "how_many", "why", "what")
_N_WORDINGS = 4


def _words(area_name: str, subject: str) -> Words:
    shared = lexicon("questions")["shared"]
    return {
        "s": subject,
        "date": ("{season} {years}",),
        "season": shared["seasons"],
        "years": shared["years"],
        "people": shared["people"],
        "places": shared["places"],
        "numbers": shared["numbers"],
        "reasons": shared["reasons"],
        "substances": lexicon("questions")["domains"][area_name]["substances"],
        "aside": shared["asides"],
    }


def question(area_name: str, relation: str, wording: int, subject: str) -> str:
    """A question about one subject; the relation is one of who, when, where, how_many, why, what, each in some wordings."""
    questions = lexicon("questions")["domains"][area_name]["relations"][relation]["questions"]
    return questions[wording].replace("{s}", subject)


def statement(area_name: str, relations: tuple[str, ...], wording: int, subject: str, dice: Dice) -> str:
    """A sentence that states one fact per relation about the subject, in this order.

    The answer with the number of the question's wording is the one that answers it, so every fact takes that number.
    """
    known = lexicon("questions")["domains"][area_name]["relations"]
    words = _words(area_name, subject)
    facts = [expand(known[relation]["answers"][wording], words, dice) for relation in relations]
    text = f"the {subject} {' and '.join(facts)}"
    if dice.chance(0.25):
        text = f"{dice.choose(lexicon('questions')['shared']['asides'])} {text}"
    return with_articles(sentence(text))


def _facts(relation: str, answered: bool, dice: Dice) -> tuple[str, ...]:
    """One or two relations for a statement that answers, or does not answer, a question about `relation`."""
    others = [other for other in _RELATIONS if other != relation]
    first, second = dice.choose_two(others)
    if not answered:
        return (first, second) if dice.chance(0.12) else (first,)
    if dice.chance(0.88):
        return (relation,)
    return (relation, first) if dice.chance(0.5) else (first, relation)


def draw_pair(area_name: str, dice: Dice) -> tuple[str, str, int]:
    """A random question, a sentence, and whether the sentence answers it (0 entailment, 1 not_entailment).

    A sentence fails to answer because it tells something else about the subject, or the same thing about another subject.
    """
    label = int(dice.chance(0.5))
    subject, other_subject = dice.choose_two(lexicon("questions")["domains"][area_name]["subjects"])
    relation, wording = dice.choose(_RELATIONS), dice.choose(range(_N_WORDINGS))
    # Comparing two subjects is beyond a model of two layers: few examples depend on it.
    is_about_other = bool(label) and dice.chance(0.1)
    facts = _facts(relation, answered=not label or is_about_other, dice=dice)
    stated = statement(area_name, facts, wording, other_subject if is_about_other else subject, dice)
    return question(area_name, relation, wording, subject), stated, label


def question_passage(area_name: str, dice: Dice) -> list[str]:
    """Unlabelled pretraining text: six questions on two subjects, each with its answer as a tab-separated pair."""
    subjects = dice.choose_two(lexicon("questions")["domains"][area_name]["subjects"])
    pairs = []
    for relation in dict.fromkeys(dice.choose(_RELATIONS) for _ in range(4)):
        for subject in subjects:
            wording = dice.choose(range(_N_WORDINGS))
            stated = statement(area_name, _facts(relation, answered=True, dice=dice), wording, subject, dice)
            pairs.append(f"{question(area_name, relation, wording, subject)}\t{stated}")
    return pairs
