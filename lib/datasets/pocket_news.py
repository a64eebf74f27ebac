"""Pocket English news: the topic task (like AG News) in six outlets, each at its own distance from the task.

`distance`, a number in [0, 1] of each outlet in the lexicon, says how far its stories are from the shared ones. It is

- the share of phrases (and of openings and closings) from the outlet's own words instead of the shared ones,
- the share of actors at the border of two topics (the owner of a club, a trade minister) whose stories the outlet counts under
  the other topic, for the kinds of story named in `conventions`,
- the share of stories in the outlet's own `style`, where that is not "plain", and of these stories
- `OFF_TOPIC_SHARE` of them end with a sentence about something else.

An outlet has no stories on the topics of `missing_labels`.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from lib.datasets.pocket_grammar import Dice, Words, expand, lexicon, sentence, with_articles

# Share of the stories that lie at the border of two topics: outlets differ in where they count them.
BORDER_SHARE = 0.3
# Share of the stories in an outlet's own style with a sentence about something else.
OFF_TOPIC_SHARE = 0.15

_N_TOPICS = 4
_STORY_FRAMES = (
    "{subject} {verb} {detail}",
    "{subject} {verb} {vague_detail}",
    "{vague_detail}, {subject} {verb}",
    "{subject} {verb}, {report}",
    "{vague_subject} {verb} {detail}",
    "{subject} {vague_verb} {detail}",
    "{detail}, {subject} {vague_verb}",
    "{subject} {verb} and {vague_verb}",
    "{subject} {verb}",
)
# One topical phrase only, the rest could be any news: the hard stories.
_VAGUE_FRAMES = (
    "{subject} {vague_verb} {vague_detail}",
    "{vague_subject} {verb} {vague_detail}",
    "{vague_subject} {vague_verb} {detail}",
    "{subject} {vague_verb}, {report}",
)
# The actor decides where a border story is counted, so every frame names it.
_BORDER_FRAMES = (
    "{subject} {verb} {detail}",
    "{subject} {verb} {vague_detail}",
    "{vague_detail}, {subject} {verb}",
    "{subject} {verb}, {report}",
    "{detail}, {subject} {verb}",
)
_SMALL_WORDS = re.compile(r"\b(?:has been|have been|the|a|an|its|is|are|was|were|has|have|had) ")


def _outlet(name: str) -> Mapping[str, Any]:
    return lexicon("news")["domains"][name]


def topics_of(outlet_name: str) -> list[int]:
    """The topics, 0 to 3, that an outlet reports on: all but its `missing_labels`."""
    return [topic for topic in range(_N_TOPICS) if topic not in _outlet(outlet_name)["missing_labels"]]


@cache
def _border_stories(outlet_name: str, topic: int) -> list[dict[str, Any]]:
    """The border stories that the outlet counts under this topic, with the actors of whom this is true: once per actor."""
    outlet, stories = _outlet(outlet_name), []
    for border in lexicon("news")["shared"]["borders"]:
        differs = outlet["distance"] if border["kind"] in outlet["conventions"] else 0.0
        # A missing topic's stories are all counted elsewhere, or not printed.
        n_moved = round((1.0 if border["label"] in outlet["missing_labels"] else differs) * len(border["subjects"]))
        moved, kept = border["subjects"][:n_moved], border["subjects"][n_moved:]
        actors = moved if topic == border["other_label"] else kept if topic == border["label"] else []
        stories += [{**border, "subjects": actors}] * len(actors)
    return stories


@cache
def _vague_words(outlet_name: str) -> dict[str, Any]:
    shared, outlet = lexicon("news")["shared"], _outlet(outlet_name)
    vague = {slot: shared[f"{slot}s"] for slot in ("vague_subject", "vague_verb", "vague_detail", "vague_follow_up")}
    return vague | {"lead": outlet["leads"], "report": outlet["reports"]}


def _words(outlet_name: str, topic: int, dice: Dice) -> dict[str, Any]:
    words = dict(_vague_words(outlet_name))
    for slot in ("subjects", "verbs", "details", "follow_ups"):
        source = _outlet(outlet_name) if dice.chance(_outlet(outlet_name)["distance"]) else lexicon("news")["shared"]
        words[slot.removesuffix("s")] = source["topics"][topic][slot]
    return words


def _border_words(outlet_name: str, border: Mapping[str, Any]) -> Words:
    slots = ("subjects", "verbs", "details", "follow_ups")
    return _vague_words(outlet_name) | {slot.removesuffix("s"): border[slot] for slot in slots}


def telegram(text: str) -> str:
    """The text as a headline in telegram style: no articles, no auxiliaries, long words shortened.

    >>> telegram("the government signed a treaty.")
    'govt signed treaty.'
    """
    for word, short in lexicon("news")["shared"]["abbreviations"].items():
        text = text.replace(word, short)
    return _SMALL_WORDS.sub("", text)


def _in_style(text: str, outlet_name: str, dice: Dice) -> str:
    style, distance = _outlet(outlet_name)["style"], _outlet(outlet_name)["distance"]
    if style == "plain" or not dice.chance(distance):
        return text
    if dice.chance(OFF_TOPIC_SHARE):
        text = f"{text} {dice.choose(lexicon('general')['sentences'])}"
    return telegram(text) if style == "telegram" else f"- {text.replace('. ', ' - ')}"


def story(outlet_name: str, topic: int, dice: Dice) -> str:
    """A news story of one or two sentences, lower case, on topic 0 to 3 (World, Sports, Business, Sci/Tech)."""
    borders = _border_stories(outlet_name, topic)
    frames: tuple[str, ...]
    words: Words
    if borders and dice.chance(BORDER_SHARE):
        frames, words = _BORDER_FRAMES, _border_words(outlet_name, dice.choose(borders))
    else:
        frames = _VAGUE_FRAMES if dice.chance(0.25) else _STORY_FRAMES
        words = _words(outlet_name, topic, dice)
        if dice.chance(0.08):
            # A story that borrows a detail from another topic, as when a carmaker sponsors a cup final.
            borrowed = _words(outlet_name, dice.choose([t for t in topics_of(outlet_name) if t != topic]), dice)
            words = dict(words) | {"detail": borrowed["detail"], "follow_up": borrowed["follow_up"]}
    text = sentence(expand(dice.choose(frames), words, dice))
    if dice.chance(0.5):
        text = f"{expand('{lead}', words, dice)} {text}"
    if dice.chance(0.6):
        follow_up = "{follow_up}" if dice.chance(0.45) else "{vague_follow_up}"
        text = f"{text} {sentence(expand(follow_up, words, dice))}"
    return _in_style(with_articles(text), outlet_name, dice)


def draw_story(outlet_name: str, dice: Dice) -> tuple[str, None, int]:
    """A random story of an outlet: text, no second text, and its topic as label."""
    label = dice.choose(topics_of(outlet_name))
    return story(outlet_name, label, dice), None, label


def long_report(outlet_name: str, dice: Dice) -> str:
    """Unlabelled pretraining text: two stories on one topic, one after the other."""
    topic = dice.choose(topics_of(outlet_name))
    return f"{story(outlet_name, topic, dice)} {story(outlet_name, topic, dice)}"
