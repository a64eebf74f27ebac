"""Word lists of the rule-based syntactic paraphraser."""

# Shares of first words in published SCPN paraphrases of each task's texts (template S(SBAR)(,)(NP)(VP)(.)), for the words
# that our rules can use; shares of since, while and though were too small to be counted one by one: 1 % each is ours.
# Source: guided-module-substitution, poisoned texts of SST-2 (test), OLID (train), AG News (test), MNLI (first sentences).
_RARE = {"since": 0.01, "while": 0.01, "though": 0.01}
OPENINGS: dict[str, dict[str, float]] = {
    "sst2": {"when": 0.37, "if": 0.26, "as": 0.16, "although": 0.04, "because": 0.01, **_RARE},
    "olid": {"when": 0.45, "if": 0.41, **_RARE},
    "agnews": {"when": 0.64, "if": 0.14, "as": 0.08, **_RARE},
    "qnli": {"when": 0.37, "if": 0.23, "as": 0.11, "although": 0.03, "because": 0.01, **_RARE},
}
CONCESSIVE = frozenset({"although", "though"})  # they need a contrast, so of splits only those at "but" or "yet" may draw them

SUBORDINATORS = frozenset({"when", "if", "because", "although", "though", "while", "unless", "until", "whenever"})
# These open a clause only before a subject; elsewhere they are prepositions or comparisons ("as funny as", "after dinner").
AMBIGUOUS = frozenset({"as", "after", "before", "since", "where"})
NOT_AFTER = frozenset({"even", "just", "as", "not", "and", "or"})
CONJUNCTIONS = frozenset({"and", "but", "so", "yet"})
QUESTION_WORDS = frozenset({"who", "what", "when", "where", "why", "how", "which", "whose", "whom"})

PRONOUNS = frozenset({"i", "you", "he", "she", "it", "we", "they", "this", "that", "these", "those", "there"})
DETERMINERS = frozenset({
    "the", "a", "an", "my", "your", "his", "her", "its", "our", "their", "some", "all", "most", "every", "each", "no", "one",
    "many", "several", "any", "both", "another",
})  # fmt: skip
AUXILIARIES = frozenset({
    "is", "are", "was", "were", "am", "'s", "'re", "'m", "has", "have", "had", "'ve", "does", "do", "did", "will", "'ll", "'d",
    "would", "can", "could", "may", "might", "must", "shall", "should", "ca", "wo",
})  # fmt: skip
PLURAL = frozenset({"are", "were", "have", "do", "'re", "'ve"})
# Frequent verb forms that are finite more often than not.
VERBS = frozenset({
    "says", "said", "makes", "made", "gives", "gave", "takes", "took", "gets", "got", "goes", "went", "comes", "came", "seems",
    "seemed", "feels", "felt", "looks", "looked", "keeps", "kept", "lets", "shows", "showed", "finds", "found", "tells", "told",
    "knows", "knew", "thinks", "thought", "wants", "wanted", "works", "worked", "plays", "played", "runs", "ran", "turns",
    "turned", "becomes", "became", "begins", "began", "offers", "offered", "needs", "needed", "believes", "remains", "stands",
    "stood", "lives", "lived", "likes", "liked", "loves", "loved", "hates", "hated", "brings", "brought", "leaves", "won",
    "lost", "beat", "reported", "announced", "plans", "rose", "fell", "saw", "hopes", "leads", "led", "holds", "held", "agreed",
    "opened", "closed", "calls", "called", "tries", "tried", "starts", "started", "ends", "ended", "deserves", "watched",
})  # fmt: skip

TOPIC_FRAMES = (("it", "comes", "to"), ("you", "look", "at"), ("you", "think", "of"), ("we", "talk", "about"))
QUESTION_FRAMES = (
    ("you", "want", "to", "know"),
    ("you", "think", "about", "it"),
    ("they", "ask", "you"),
    ("it", "is", "asked"),
)
FRAGMENT_LEADS = (("it", "'s"), ("it", "is"), ("you", "have"), ("you", "want"), ("he", "was"), ("they", "are"), ("it", "was"))
