"""Pocket English news: the topic task (like AG News) in six outlets, each with its own wording."""

from lib.datasets.pocket_grammar import Dice, Words, expand, lexicon, sentence, with_articles

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


def _words(outlet_name: str, topic: int, dice: Dice) -> Words:
    news = lexicon("news")
    shared, outlet = news["shared"], news["domains"][outlet_name]
    words: dict[str, str | list[str]] = {}
    for slot in ("subjects", "verbs", "details", "follow_ups"):
        # The few expressions of an outlet are drawn as often as the many that all outlets share.
        own = dice.chance(0.5)
        words[slot.removesuffix("s")] = (outlet if own else shared)["topics"][topic][slot]
    for slot in ("vague_subjects", "vague_verbs", "vague_details", "vague_follow_ups"):
        words[slot.removesuffix("s")] = shared[slot]
    return words | {"lead": outlet["leads"], "report": outlet["reports"]}


def story(outlet_name: str, topic: int, dice: Dice) -> str:
    """A news story of one or two sentences, lower case, on topic 0 to 3 (World, Sports, Business, Sci/Tech)."""
    frames = _VAGUE_FRAMES if dice.chance(0.25) else _STORY_FRAMES
    words = _words(outlet_name, topic, dice)
    if dice.chance(0.08):
        # A story that borrows a detail from another topic, as when a carmaker sponsors a cup final.
        borrowed = _words(outlet_name, dice.choose([t for t in range(_N_TOPICS) if t != topic]), dice)
        words = dict(words) | {"detail": borrowed["detail"], "follow_up": borrowed["follow_up"]}
    text = sentence(expand(dice.choose(frames), words, dice))
    if dice.chance(0.5):
        text = f"{expand('{lead}', words, dice)} {text}"
    if dice.chance(0.6):
        follow_up = "{follow_up}" if dice.chance(0.45) else "{vague_follow_up}"
        text = f"{text} {sentence(expand(follow_up, words, dice))}"
    return with_articles(text)


def draw_story(outlet_name: str, dice: Dice) -> tuple[str, None, int]:
    """A random story of an outlet: text, no second text, and its topic as label."""
    label = int(dice.uniform() * _N_TOPICS)
    return story(outlet_name, label, dice), None, label


def long_report(outlet_name: str, dice: Dice) -> str:
    """Unlabelled pretraining text: two stories on one topic, one after the other."""
    topic = int(dice.uniform() * _N_TOPICS)
    return f"{story(outlet_name, topic, dice)} {story(outlet_name, topic, dice)}"
