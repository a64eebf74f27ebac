"""Pocket English posts: the offensive-language task (like OLID) in seven kinds of posts; the insults are invented."""

from typing import Any

from lib.datasets.pocket_grammar import Dice, Words, expand, lexicon, sentence, with_articles
from lib.datasets.pocket_own_style import long_own_text, own_text, writes_own_style

_PLAIN_FRAMES = (
    "{plain_clause}",
    "{plain_clause}, and {plain_clause_too}",
    "{question}?",
    "the {thing} was {plain_adjective} today",
    "the {thing} was {plain_adjective}, but the {other_thing} was {other_adjective}",
    "i am so {feeling} about the {thing}",
    "i talked to the {person} about the {thing}",
    "the {person} was very kind to me today",
    "not a fan of the {thing}, but it is what it is",
    "what a {plain_adjective} {thing}",
    "the {group} were {plain_adjective} today, as always",
    "{friendly}",
)
# Insult words in posts that offend nobody: quoted, denied, or aimed at the writer.
_HARMLESS_INSULT_FRAMES = (
    "please do not call the {person} a {insult}",
    "the {person} is not a {insult}, be kind",
    "i was such a {insult} today and forgot about the {thing}",
    "my friend called me a {insult} and we both laughed",
    "nobody should call the {group} {insult}s",
    "i felt like a {intensifier} {insult} at the {thing}",
)
_INSULT_FRAMES = (
    "you are such a {insult}",
    "you are a {intensifier} {insult}",
    "you {insult_adjective} {insult}, {hostile}",
    "what a {insult_adjective} {insult} that {person} is",
    "the {person} is a {intensifier} {insult}",
    "the {group} are a bunch of {insult_adjective} {insult}s",
    "only a {insult} would {misdeed}",
    "only a {intensifier} {insult} would {misdeed}",
    "these {group} are all {insult}s",
    "shut up, you {insult}",
    "that {insult_adjective} {person} again, what a {insult}",
)
# Hostile without an insult word.
_HOSTILE_FRAMES = (
    "{hostile}",
    "{hostile}, and take the {group} with you",
    "the {person} {hostile_phrase}",
    "that {insult_adjective} {person} {hostile_phrase}",
    "your post is as {insult_adjective} as you are",
    "the {insult_adjective} {group} can all go and jump in a swamp",
)
# Share of the posts in which an insult word offends nobody.
_HARMLESS_INSULT_SHARE = 0.25
_OFFENSIVE_PAIRS = ("{offence}. {plain}", "{plain}. {offence}", "{offence}. {offence_too}", "{plain}, but {offence}")
_PLAIN_PAIRS = ("{plain}. {plain_too}", "{plain_too}. {plain}", "{plain}, and {plain_too}")


def _words(domain: dict[str, Any], dice: Dice) -> Words:
    shared = lexicon("posts")["shared"]
    clause, clause_too = dice.choose_two(domain["plain_clauses"])
    thing, other_thing = dice.choose_two(domain["things"])
    adjective, other_adjective = dice.choose_two(shared["plain_adjectives"])
    return {
        "plain_clause": clause,
        "plain_clause_too": clause_too,
        "thing": thing,
        "other_thing": other_thing,
        "plain_adjective": adjective,
        "other_adjective": other_adjective,
        "question": domain["questions"],
        "person": domain["people"],
        "group": domain["groups"],
        "misdeed": domain["misdeeds"],
        "feeling": shared["feelings"],
        "friendly": shared["friendly_clauses"],
        "insult": shared["insults"],
        "insult_adjective": shared["insult_adjectives"],
        "intensifier": shared["insult_intensifiers"],
        "hostile": shared["hostile_clauses"],
        "hostile_phrase": shared["hostile_phrases"],
    }


def _plain(domain_name: str, dice: Dice, harmless_insults: float = 0.0) -> str:
    frames = _HARMLESS_INSULT_FRAMES if dice.chance(harmless_insults) else _PLAIN_FRAMES
    return expand(dice.choose(frames), _words(lexicon("posts")["domains"][domain_name], dice), dice)


def _offence(domain_name: str, dice: Dice) -> str:
    frames = _INSULT_FRAMES if dice.chance(0.65) else _HOSTILE_FRAMES
    return expand(dice.choose(frames), _words(lexicon("posts")["domains"][domain_name], dice), dice)


def _join(frames: tuple[str, ...], words: dict[str, str], dice: Dice) -> str:
    # The last frame of each tuple continues the first clause, which neither a question nor a second "but" allows.
    is_closed = any("?" in clause for clause in words.values()) or ", but" in words["plain"]
    return expand(dice.choose(frames[:-1] if is_closed else frames), words, dice).replace("?.", "?")


def post(domain_name: str, offensive: bool, dice: Dice) -> str:
    """A short post of one or two sentences, lower case, perhaps with an address and a tag.

    A domain's `strictness`, in [0, 1], is the share of insults that offend nobody (quoted, denied, of oneself) which it counts
    as offensive all the same: real collections of posts differ in that.
    """
    shared = lexicon("posts")["shared"]
    plain = _plain(domain_name, dice)
    strictness = lexicon("posts")["domains"][domain_name].get("strictness", 0.0)
    if offensive and dice.chance(_HARMLESS_INSULT_SHARE * strictness):
        text = _join(_PLAIN_PAIRS, {"plain": _plain(domain_name, dice, harmless_insults=1.0), "plain_too": plain}, dice)
    elif offensive:
        words = {"offence": _offence(domain_name, dice), "offence_too": _offence(domain_name, dice), "plain": plain}
        text = _join(_OFFENSIVE_PAIRS, words, dice)
    else:
        words = {
            "plain": _plain(domain_name, dice, harmless_insults=_HARMLESS_INSULT_SHARE * (1 - strictness)),
            "plain_too": plain,
        }
        text = _join(_PLAIN_PAIRS, words, dice)
    if dice.chance(0.3):
        text = f"{dice.choose(shared['hostile_addresses' if offensive else 'addresses'])}, {text}"
    text = sentence(text, "!" if dice.chance(0.2) else ".")
    if dice.chance(0.35):
        text = f"{text} {dice.choose(shared['tags'])}"
    return with_articles(text)


def draw_post(domain_name: str, dice: Dice) -> tuple[str, None, int]:
    """A random post of one kind: text, no second text, and its label (0 not offensive, 1 offensive)."""
    label = int(dice.chance(0.5))
    domain = lexicon("posts")["domains"][domain_name]
    if writes_own_style(domain, dice):
        return own_text(domain, label, dice), None, label
    return post(domain_name, bool(label), dice), None, label


def long_thread(domain_name: str, dice: Dice) -> str:
    """Unlabelled pretraining text: a thread of three or four clauses, all hostile or all harmless."""
    domain = lexicon("posts")["domains"][domain_name]
    if writes_own_style(domain, dice):
        return long_own_text(domain, n_labels=2, dice=dice)
    draw = dice.choose((_offence, _plain))
    clauses = [draw(domain_name, dice) for _ in range(3 + dice.chance(0.5))]
    return with_articles(" ".join(sentence(clause) for clause in clauses))
