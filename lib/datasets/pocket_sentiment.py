"""Pocket English reviews: the sentiment task (like SST-2) in eight domains."""

from typing import Any

from lib.datasets.pocket_grammar import Dice, Words, expand, lexicon, sentence, with_articles
from lib.datasets.pocket_own_style import long_own_text, own_text, writes_own_style

_BE = {"count": ("is", "was"), "mass": ("is", "was"), "plural": ("are", "were")}
_SEEM = {"count": ("seems", "feels"), "mass": ("seems", "feels"), "plural": ("seem", "feel")}

_ASPECT_FRAMES = (
    "the {noun} {be} {adjective}",
    "the {noun} {be} {very} {adjective}",
    "the {noun} {be} {adjective} and {other_adjective}",
    "{observer} found the {noun} {adjective}",
    "{observer} found the {noun} {very} {adjective}",
    "the {noun} {seem} {adjective}",
    "{observer} {verb} the {noun}",
    "i really {verb} the {adjective} {noun}",
    "the {noun} could not be more {adjective}",
)
_ITEM_FRAMES = (
    "this {item} is a {polar_noun}",
    "the {item} was a {polar_noun} in every way",
    "it is a {general} {item}",
    "this is a {general} {item} with {a_adjective_noun}",
    "it is a {very} {general} {item} with {a_adjective_noun}",
    "the {maker} did a {general} job",
    "the {lead_maker} gives us a {general} {item}",
    "the {item} is {general}, and the {noun} {be} {adjective}",
    "{observer} {verb} this {item}",
    "{observer} {verb} every bit of it",
    "{made_subject} is {made_well} {made}",
    "{phrase}",
    "{phrase}",
)
# The words of these frames have the opposite polarity: "not" decides.
_NEGATION_FRAMES = (
    "the {noun} {be} not {adjective}",
    "the {noun} {be} not {adjective} at all",
    "the {noun} {be} never {adjective}",
    "the {noun} {be} hardly {adjective}",
    "the {noun} {be} far from {adjective}",
    "there is nothing {general} about the {noun}",
    "this {item} is not a {polar_noun}",
    "this is not a {general} {item}",
    "{observer} did not {bare_verb} the {noun}",
    "{observer} did not {bare_verb} this {item}",
    "nobody could call this {item} {general}",
)
_CONTRAST_FRAMES = (
    "{opposite}, but {clause}",
    "{opposite}, but {clause}",
    "{opposite}, but in the end {clause}",
    "although {opposite}, {clause}",
    "{opposite}, yet {clause}",
    "{opposite}. still, {clause}",
    "{opposite}. even so, {clause}",
    "{source} said that {opposite}, but {clause}",
)
_PAIR_FRAMES = ("{clause}, and {other_clause}", "{clause}. {other_clause}", "{clause}; {other_clause}", "{fragment}. {clause}")
_SETTING_FRAMES = ("{fact}. {clause}", "{clause}. {fact}", "{fact}, and {clause}")
# Facts without an opinion. The second kind is what people write about anything that they bought, watched or read.
_FACT_FRAMES = ("{setting}", "{tried} this {item} {occasion}")
_LIST_OPENERS = ("in a few words:", "people say:", "my notes say:", "other words for it:", "it was")
_FRAGMENT_FRAMES = ("what {a_noun}, {adjective} and {other_adjective}", "a {general} {item}", "what a {general} {item}")


def _aspect_words(domain: dict[str, Any], polarity: str, dice: Dice) -> dict[str, Any]:
    """Words about one aspect of the thing under review, with the number of its noun agreed."""
    aspect, kind = (chosen := dice.choose(domain["aspects"])), chosen["kind"]
    general = lexicon("sentiment")["shared"][polarity]
    # Words that every domain uses are the more frequent ones: they are what models of two domains have in common.
    adjective, other_adjective = dice.choose_two(general)
    if dice.chance(0.5):
        other_adjective = dice.choose(aspect[polarity])
        if dice.chance(0.5):
            adjective, other_adjective = other_adjective, adjective
    article = "a " if kind == "count" else ""
    return {
        "noun": aspect["noun"],
        "a_noun": article + aspect["noun"],
        "a_adjective_noun": f"{article}{adjective} {aspect['noun']}",
        "be": _BE[kind],
        "seem": _SEEM[kind],
        "adjective": adjective,
        "other_adjective": other_adjective,
    }


def _words(domain: dict[str, Any], item: str, polarity: str, dice: Dice) -> Words:
    shared = lexicon("sentiment")["shared"]
    return _aspect_words(domain, polarity, dice) | {
        "item": item,
        "maker": domain["makers"],
        "lead_maker": domain["makers"][:2],
        "made_subject": domain["made_subject"],
        "made": domain["made"],
        "made_well": ("well", "beautifully", "carefully") if polarity == "positive" else ("badly", "poorly", "carelessly"),
        "phrase": domain[f"{polarity}_phrases"],
        "general": shared[polarity],
        "polar_noun": shared[f"{polarity}_nouns"],
        "verb": shared[f"{polarity}_verbs"],
        "bare_verb": shared[f"{polarity}_bare_verbs"],
        "very": shared["intensifiers"],
        "observer": shared["observers"],
    }


def _opposite(polarity: str) -> str:
    return "negative" if polarity == "positive" else "positive"


def _plain_clause(domain: dict[str, Any], item: str, polarity: str, dice: Dice) -> str:
    """A clause whose words have the polarity that it expresses."""
    frames = _ASPECT_FRAMES if dice.chance(0.55) else _ITEM_FRAMES
    return expand(dice.choose(frames), _words(domain, item, polarity, dice), dice)


def _clause(domain: dict[str, Any], item: str, polarity: str, dice: Dice) -> str:
    """A clause, in about one case of twelve with a negation."""
    if dice.chance(0.92):
        return _plain_clause(domain, item, polarity, dice)
    return expand(dice.choose(_NEGATION_FRAMES), _words(domain, item, _opposite(polarity), dice), dice)


def review(domain_name: str, polarity: str, dice: Dice) -> str:
    """A review of one to three sentences, lower case, that is on the whole "positive" or "negative".

    A domain's `verdict_first`, in [0, 1], is the share of its reviews of two minds whose first half decides, not the last.
    """
    shared, domain = lexicon("sentiment")["shared"], lexicon("sentiment")["domains"][domain_name]
    item, kind = dice.choose(domain["items"]), dice.uniform()
    frames = _CONTRAST_FRAMES if kind < 0.13 else _PAIR_FRAMES if kind < 0.7 else _SETTING_FRAMES
    last = polarity
    if frames is _CONTRAST_FRAMES:
        # Where the verdict comes first, "praise, but blame" is praise on the whole.
        last = _opposite(polarity) if dice.chance(domain.get("verdict_first", 0.0)) else polarity
        clause = _plain_clause(domain, item, last, dice)
    else:
        clause = _clause(domain, item, polarity, dice)
    if frames is not _CONTRAST_FRAMES and dice.chance(0.25):
        clause = f"{dice.choose(shared['openers'])} {clause}"
    words = {
        "clause": clause,
        "other_clause": _clause(domain, item, polarity, dice),
        "fragment": expand(dice.choose(_FRAGMENT_FRAMES), _words(domain, item, polarity, dice), dice),
        "opposite": _plain_clause(domain, item, _opposite(last), dice),
        "source": shared["sources"],
        "fact": _FACT_FRAMES,
        "setting": domain["settings"],
        "tried": domain["tried"],
        "item": item,
        "occasion": shared["occasions"],
    }
    text = sentence(expand(dice.choose(frames), words, dice))
    if dice.chance(0.4):
        text = f"{text} {sentence(dice.choose(shared[f'{polarity}_closers']))}"
    return with_articles(text)


def draw_review(domain_name: str, dice: Dice) -> tuple[str, None, int]:
    """A random review of a domain: text, no second text, and its label (0 negative, 1 positive)."""
    label = int(dice.chance(0.5))
    domain = lexicon("sentiment")["domains"][domain_name]
    if writes_own_style(domain, dice):
        return own_text(domain, label, dice), None, label
    return review(domain_name, ("negative", "positive")[label], dice), None, label


def _words_of_praise_or_blame(domain: dict[str, Any], polarity: str, dice: Dice) -> str:
    """A list of four to six adjectives of one polarity."""
    adjectives = list(lexicon("sentiment")["shared"][polarity])
    for aspect in domain["aspects"]:
        adjectives += aspect[polarity]
    listed = list(dict.fromkeys(dice.choose(adjectives) for _ in range(6)))
    return f"{dice.choose(_LIST_OPENERS)} {', '.join(listed[:-1])} and {listed[-1]}."


def one_sided_review(domain_name: str, dice: Dice) -> str:
    """Unlabelled pretraining text of one polarity: clauses, and mostly a list of adjectives.

    Words of the same polarity must stand close together: without the lists masked language modelling of this length learns
    everything but polarity.
    """
    domain = lexicon("sentiment")["domains"][domain_name]
    if writes_own_style(domain, dice):
        return long_own_text(domain, n_labels=2, dice=dice)
    polarity = dice.choose(("negative", "positive"))
    item = dice.choose(domain["items"])
    n_clauses = 1 + int(dice.chance(0.7)) + int(dice.chance(0.4))
    sentences = [sentence(_plain_clause(domain, item, polarity, dice)) for _ in range(n_clauses)]
    if dice.chance(0.8):
        sentences.append(_words_of_praise_or_blame(domain, polarity, dice))
    if dice.chance(0.6):
        sentences.append(sentence(dice.choose(lexicon("sentiment")["shared"][f"{polarity}_closers"])))
    return with_articles(" ".join(sentences))
