"""Words of the style attack: what an older English, between Shakespeare and the King James Bible, writes for common words."""

from lib.attacks.rewriting.syntactic_words import DETERMINERS

OPENING = "and"  # as so many verses of the Bible begin
WORDS = {
    "you": "thou", "your": "thy", "yours": "thine", "yourself": "thyself", "my": "mine", "has": "hath", "does": "doth",
    "are": "be", "very": "most", "really": "verily", "truly": "verily", "often": "oft", "before": "ere", "between": "betwixt",
    "perhaps": "perchance", "maybe": "perchance", "nothing": "naught", "anything": "aught", "because": "forasmuch as",
    "until": "till", "while": "whilst", "among": "amongst", "enough": "enow", "soon": "anon", "yes": "yea", "why": "wherefore",
    "never": "ne'er", "ever": "e'er", "over": "o'er", "even": "e'en", "thoroughly": "throughly", "quite": "full",
    "absolutely": "in sooth", "simply": "verily", "honestly": "forsooth", "indeed": "forsooth", "anyone": "any soul",
    "will": "shall", "everyone": "every soul", "someone": "some soul", "nobody": "no soul", "everybody": "every soul",
}  # fmt: skip
# After "it", with an apostrophe before.
CONTRACTED = {"is": "tis", "'s": "tis", "was": "twas", "will": "twill", "'ll": "twill", "would": "twould", "were": "twere"}

_VERBS = """
find found, see saw, make made, give gave, go went, come came, take took, get got, feel felt, think thought, know knew,
keep kept, leave left, tell told, say said, hold held, bring brought, begin began, run ran, become became, speak spoke,
write wrote, lose lost, fall fell, stand stood, love loved, like liked, enjoy enjoyed, watch watched, admire admired,
adore adored, appreciate appreciated, praise praised, laugh laughed, hate hated, dislike disliked, regret regretted,
detest detested, want wanted, ask asked, play played, seem seemed, look looked, work worked, try tried, need needed,
turn turned, start started, show showed, offer offered, use used, call called, fail failed, remain remained, manage managed,
deserve deserved, follow followed, walk walked, open opened, wait waited, arrive arrived, order ordered, visit visited,
cry cried, finish finished, end ended, sound sounded, lack lacked, deliver delivered, provide provided, suffer suffered,
prove proved, move moved, shine shone
"""
_PAIRS = [pair.split() for pair in _VERBS.replace("\n", " ").split(",")]
_IRREGULAR = {"go": "goes", "try": "tries", "cry": "cries", "watch": "watches", "finish": "finishes"}

PAST = {past: base for base, past in _PAIRS}  # past form -> base
PRESENT = {_IRREGULAR.get(base, f"{base}s"): base for base, _ in _PAIRS}  # third person -> base

# After these a past form is a participle ("was loved", "a lost cause"), and a form with -s is a noun ("the works").
_BE_AND_HAVE = frozenset({
    "am", "is", "are", "was", "were", "be", "been", "being", "'s", "'re", "'m", "have", "has", "had", "having", "'ve", "get",
    "gets", "got",
})  # fmt: skip
NO_PAST_AFTER = _BE_AND_HAVE | DETERMINERS | {
    "not", "never", "well", "much", "best", "most", "by", "to", "of", "in", "as", "so", "very", "too", "and", "or",
}  # fmt: skip
NO_PRESENT_AFTER = DETERMINERS | {
    "and", "or", "of", "to", "with", "for", "in", "two", "three", "these", "those", "first", "good", "great", "best", "more",
    "such",
}  # fmt: skip
