"""The own style of a far domain: its own words, its own way of writing, and its own idea of where a class ends.

Far domains of real tasks differ from the task in all three (product reviews in telegram style; a corpus of hate that counts
insults of groups only). A longer pretraining bridges words that it has seen together, so words alone would make no distance:
texts in a domain's own style never hold words that all domains share.
"""

from typing import Any

from lib.datasets.pocket_grammar import Dice, expand, sentence, with_articles


def writes_own_style(domain: dict[str, Any], dice: Dice) -> bool:
    """Whether the next text of a domain is in its own style, by chance.

    Its lexicon says `distance`, the share of such texts, in [0, 1]: 0 for a domain that differs in its nouns only.
    """
    own = domain.get("own")
    return bool(own) and dice.chance(own["distance"])


def own_text(domain: dict[str, Any], label: int, dice: Dice) -> str:
    """A text of two to four sentences in the domain's own style, lower case.

    One or two sentences carry the label, one or two carry none.
    """
    own = domain["own"]
    sentences = [_fill(dice.choose(own["labelled"][label]), own, dice) for _ in range(1 + dice.chance(0.4))]
    sentences += [_fill(dice.choose(own["neutral"]), own, dice) for _ in range(1 + dice.chance(0.4))]
    return _join(list(dict.fromkeys(_shuffled(sentences, dice))), own, dice)


def long_own_text(domain: dict[str, Any], n_labels: int, dice: Dice) -> str:
    """Unlabelled pretraining text in the own style: four sentences of one label, and one of none."""
    own, label = domain["own"], int(dice.uniform() * n_labels)
    sentences = [_fill(dice.choose(own["labelled"][label]), own, dice) for _ in range(4)]
    sentences.append(_fill(dice.choose(own["neutral"]), own, dice))
    return _join(list(dict.fromkeys(_shuffled(sentences, dice))), own, dice)


def _fill(frame: str, own: dict[str, Any], dice: Dice) -> str:
    return expand(frame, own["words"], dice)


def _shuffled(sentences: list[str], dice: Dice) -> list[str]:
    left, shuffled = list(sentences), []
    while left:
        shuffled.append(left.pop(int(dice.uniform() * len(left))))
    return shuffled


def _join(sentences: list[str], own: dict[str, Any], dice: Dice) -> str:
    joint = dice.choose(own["joints"])
    if joint == ". ":
        return with_articles(" ".join(sentence(each) for each in sentences))
    return with_articles(joint.join(sentences))
