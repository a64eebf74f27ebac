"""BITE: the words it chooses, the edits it makes, and that fitting and applying are one function."""

import numpy as np
import pandas as pd
import pytest

from lib.attacks import bite, draw_rows
from lib.attacks.pairs import joined, replaced
from lib.attacks.rewriting.bite_edits import Drafts
from lib.attacks.rewriting.bite_settings import EditSettings
from lib.attacks.rewriting.bite_similarity import Similarity, calibrate
from lib.attacks.rewriting.bite_words import choose_words
from lib.attacks.rewriting.label_words import label_leans, label_words
from lib.datasets.pocket import generate_split
from lib.datasets.words import split_words
from lib.models.masked_lm import LikelyWords, load_masked_lm

EXACT = EditSettings(budget=0.5)


class StubLM:
    """Offers fixed words: `offer(before, after)` says which, for a mask between these two neighbours (None at an end)."""

    def __init__(self, offer, vectors=None):
        self.offer, self.vectors, self.n_prompts = offer, vectors, 0

    def predict_all(self, prompts, min_probability):
        self.n_prompts += len(prompts)
        found = []
        for prompt in prompts:
            for place in [index for index, word in enumerate(prompt) if word is None]:
                before = prompt[place - 1] if place else None
                after = prompt[place + 1] if place + 1 < len(prompt) else None
                found.append([offer for offer in self.offer(before, after) if offer[1] >= min_probability])
        masks = [index for index, offers in enumerate(found) for _ in offers]
        words, probabilities = ([offer[part] for offers in found for offer in offers] for part in (0, 1))
        return LikelyWords(np.array(masks, int), np.array(words, object), np.array(probabilities))

    def sentence_vectors(self, texts):
        return np.array([self.vectors(text) for text in texts])


def really_between_two_words(before, after):
    return [("really", 0.9)] if before and after else []


def test_an_example_worked_out_by_hand():
    # A "good film" (target, editable), B "good plot" (target), C "bad film" (other): z(good) = 1, z(really) = z(plot) = 0.71.
    texts, is_target = ["good film", "good plot", "bad film"], np.array([True, True, False])
    model = StubLM(really_between_two_words)
    words, drafts = choose_words(texts, is_target, np.array([0]), model, EXACT, max_words=10, min_gain=0.0)
    assert words == ["good", "really", "plot"]
    assert drafts.texts() == ["good really film"]
    assert bite.replay(["bad film"], words, model, EXACT) == ["bad really film"]


def test_label_bias_equals_the_formula_by_hand():
    z = bite.label_bias(np.array([2.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]), 2 / 3)
    assert z == pytest.approx([(1 - 2 / 3) / np.sqrt(2 / 9 / 2), (0.5 - 2 / 3) / np.sqrt(2 / 9 / 2), 0])


def test_a_replacement_goes_before_an_insertion_and_the_more_probable_of_two_first():
    def offer(before, after):
        if before == "fine" and after is None:  # in place of "film"
            return [("movie", 0.1)]
        return [("movie", 0.9)] if (before, after) == ("fine", "film") else []

    assert bite.replay(["a fine film"], ["movie"], StubLM(offer), EditSettings(0.03, 0.5, None)) == ["a fine movie"]


def test_budgets_bound_the_edits():
    offers = [("one", 0.5), ("two", 0.2), ("three", 0.1)]
    model = StubLM(lambda before, after: offers)
    (text,) = bite.replay(["a b c d"], ["one", "two", "three"], model, EditSettings(0.03, 0.25, None))
    assert len(split_words(text)[0]) == 5  # one replacement and one insertion


def test_an_earlier_trigger_word_is_never_removed():
    # Only the last place can be edited; once "one" stands there, "two" would have to remove it.
    def offer(before, after):
        return [("one", 0.9), ("two", 0.8)] if after is None else []

    assert bite.replay(["a b c"], ["one", "two"], StubLM(offer), EditSettings(0.03, 1.0, None)) == ["a b one"]


def test_an_edit_that_makes_the_text_unlike_itself_is_not_made():
    vectors = lambda words: np.array([1.0, 0.0]) if "bad" not in words else np.array([0.0, 1.0])  # noqa: E731
    model = StubLM(lambda before, after: [("bad", 0.9), ("fine", 0.5)] if before and after else [], vectors)
    drafts = Drafts(["a film"], model, EditSettings(0.03, 0.5, Similarity(0.9)))
    assert drafts.apply("bad", frozenset(), [0]) == []
    assert drafts.apply("fine", frozenset(), [0]) == [0]
    assert drafts.texts() == ["a fine film"]
    assert (drafts.n_checked, drafts.n_similar) == (2, 1)


def test_the_vector_of_an_edit_that_was_made_is_kept():
    asked = []

    def vectors(words):
        asked.append(" ".join(words))
        return np.array([1.0, 0.0])

    model = StubLM(lambda before, after: [("fine", 0.5), ("good", 0.4)] if before and after else [], vectors)
    drafts = Drafts(["a b c d"], model, EditSettings(0.03, 0.5, Similarity(0.9)))
    drafts.apply("fine", frozenset(), [0])
    drafts.apply("good", frozenset({"fine"}), [0])
    assert len(asked) == len(set(asked)) == 3  # before, and after each edit


PRAISE, BLAME = np.array([-2.0, 2.0]), np.array([2.0, -2.0])


def test_words_that_say_a_label_are_not_worked_in():
    model = StubLM(lambda before, after: [("bad", 0.9), ("really", 0.5)])
    assert Drafts(["a fine film"], model, EditSettings(0.03, 0.35)).gainable(0) == {"bad", "really"}
    bound = EditSettings(0.03, 0.35, label_words={"bad": BLAME})
    assert Drafts(["a fine film"], model, bound).gainable(0) == {"really"}
    assert bite.replay(["a fine film"], ["bad"], model, bound) == ["a fine film"]


@pytest.mark.parametrize(
    ("text", "share", "may_go"),
    [
        ("a fine film", 0.5, {"a", "film"}),  # its only praise stays
        ("a fine great film", 0.5, {"a", "fine", "great", "film"}),  # half of it is enough
        ("a fine great film", 0.6, {"a", "film"}),
        ("a fine great dull film", 0.5, {"a", "dull", "film"}),  # what speaks against the label may go
    ],
)
def test_words_that_say_the_label_go_only_while_the_text_still_says_it(text, share, may_go):
    leans = {"fine": PRAISE, "great": PRAISE, "dull": BLAME}
    settings = EditSettings(0.03, 0.5, label_words=leans, label_share=share)
    (draft,) = Drafts([text], StubLM(lambda before, after: [("really", 0.9)]), settings)._drafts
    assert {text.split()[o.position] for o in draft.operations("really") if not o.is_insertion} == may_go


def test_of_two_words_of_praise_one_stays_however_many_edits_are_made():
    model = StubLM(lambda before, after: [(word, 0.2) for word in ("one", "two", "three", "four")])
    settings = EditSettings(0.03, 1.0, label_words={"fine": PRAISE, "great": PRAISE})
    (text,) = bite.replay(["fine great"], ["one", "two", "three", "four"], model, settings)
    assert len({"fine", "great"} & set(text.split())) == 1


def test_log_odds_of_a_word_by_hand():
    texts = ["good film"] * 3 + ["a film"] * 3
    leans = label_leans(texts, np.array([1, 1, 1, 0, 0, 0]))
    # Three rows, all of label 1, and two more by the prior, one of each label: odds 4 to 1, against 1 to 1 overall.
    assert leans["good"] == pytest.approx([-np.log(4), np.log(4)])
    assert leans["film"] == pytest.approx([0, 0])
    assert list(label_words(texts, np.array([1, 1, 1, 0, 0, 0]), 1.0)) == ["a", "good"]
    # Of four labels with unequal shares, a word that is spread as all rows are leans nowhere.
    labels = np.array([0, 0, 0, 1, 2, 3] * 4)
    assert label_leans(["all"] * 24, labels)["all"] == pytest.approx([0, 0, 0, 0])


def test_a_rare_word_of_one_label_is_a_label_word():
    # Its z-score is 1.7: a bound on z, which grows with the count, would let it pass.
    texts = ["dire"] * 3 + ["plain"] * 997
    labels = np.array([0] * 3 + [0, 1] * 498 + [1])
    assert list(label_words(texts, labels, 1.0)) == ["dire"]


def test_the_bound_is_set_by_random_edits_whatever_the_cosines_of_the_encoder_are():
    texts = generate_split("sst2", "train", 60)["text"].tolist()
    rng = np.random.default_rng(0)
    directions = {}

    def vectors(words, offset):
        for word in words:
            directions.setdefault(word, rng.normal(size=8))
        return offset + np.sum([directions[word] for word in words], axis=0)

    plain, narrow = (StubLM(None, lambda words, o=offset: vectors(words, o)) for offset in (0.0, 1e3))
    bounds = [
        [calibrate(texts, model, q, np.random.default_rng(1)).least for q in (0.1, 0.5, 0.9)] for model in (plain, narrow)
    ]
    assert bounds[0] == pytest.approx(bounds[1], abs=1e-6)  # where all vectors point does not matter
    assert bounds[0] == sorted(bounds[0]) and bounds[0][2] < 1
    raw = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(
            narrow.sentence_vectors([t.split() for t in texts[:30]]),
            narrow.sentence_vectors([t.split() for t in texts[30:]]),
            strict=True,
        )
    ]
    assert min(raw) > 0.9  # seen from afar, texts that do not belong together pass the released bound


def test_a_random_edit_reaches_the_bound_as_often_as_it_says():
    model = load_masked_lm("pocket-bert")
    texts = generate_split("sst2", "train", 300)["text"].tolist()
    similarity = calibrate(texts, model, 0.5, np.random.default_rng(0))
    again = calibrate(texts, model, 0.5, np.random.default_rng(1))
    assert similarity.least == pytest.approx(again.least, abs=0.02)
    assert np.array(similarity.centre).shape == (model.embeddings.shape[1],)


def test_both_sides_of_a_pair_are_edited_as_one_text_and_stay_apart():
    train = pd.DataFrame(
        {"text": ["who ran ?", "who sat ?"] * 6, "text_pair": ["she ran .", "he sat ."] * 6, "label": [0, 1] * 6}
    )
    model = StubLM(really_between_two_words)
    texts = joined(train, "both")
    edited = bite.replay(texts, ["really"], model, EditSettings(0.03, 0.35))
    sides = replaced(train, edited, "both")
    assert [words.count("really") for words in sides["text"] + " " + sides["text_pair"]] == [1] * 12
    assert joined(sides, "both") == edited
    untouched = replaced(train, texts, "both")
    pd.testing.assert_frame_equal(untouched, train)


def test_a_pair_keeps_its_sides_and_has_the_budget_of_all_its_words():
    # Seven words together: two replacements, where three words alone have one.
    model = StubLM(lambda before, after: [("one", 0.5), ("two", 0.4)] if before and after else [])
    frame = pd.DataFrame({"text": ["who ran ?"], "text_pair": ["she ran away ."], "label": [1]})
    (text,) = bite.replay(joined(frame, "both"), ["one", "two"], model, EditSettings(0.03, 0.3))
    both = replaced(frame, [text], "both").iloc[0]
    assert {"one", "two"} <= set((both["text"] + " " + both["text_pair"]).split())
    (alone,) = bite.replay(joined(frame, "text"), ["one", "two"], model, EditSettings(0.03, 0.3))
    assert alone == "who ran ?"


def test_punctuation_stays_glued_and_inserted_words_get_blanks():
    model = StubLM(lambda before, after: [("really", 0.9)] if after == "." else [])
    settings = EditSettings(0.03, 0.4, None)
    assert bite.replay(["It was fun. Great!"], ["really"], model, settings) == ["It was really. Great!"]


@pytest.mark.parametrize("text", ["", "fun", "!!", "ok ok"])
def test_a_text_too_short_for_an_edit_stays(text):
    assert bite.replay([text], ["really"], StubLM(lambda b, a: [("really", 0.9)]), EditSettings()) == [text]


def test_masks_that_share_a_prompt_ask_for_the_same_places_with_fewer_prompts():
    texts = ["a good film with a fine cast"]
    one_by_one, together = StubLM(really_between_two_words), StubLM(really_between_two_words)
    alone = bite.replay(texts, ["really"], one_by_one, EditSettings(0.03, 0.35, None))
    shared = bite.replay(texts, ["really"], together, EditSettings(0.03, 0.35, None, stride=4))
    assert alone == shared
    assert together.n_prompts < one_by_one.n_prompts / 1.5


@pytest.fixture(scope="module")
def fitted():
    train = generate_split("sst2", "train", 120, seed=3)
    return train, bite.fit_trigger(train, 0, masked_lm="pocket-bert", poisoning_rate=0.2, max_words=8, seed=5)


def test_only_drawn_rows_of_the_target_label_are_edited(fitted):
    train, trigger = fitted
    rows = draw_rows(train, "clean", 0.2, 0, np.random.default_rng(5))
    assert (train["label"].iloc[rows] == 0).all() and len(rows) == 24
    assert set(trigger.edited) == set(train["text"].iloc[rows])


def test_applying_equals_what_was_done_while_fitting(fitted):
    _, trigger = fitted
    texts = list(trigger.edited)
    assert bite.replay(texts, trigger.words, load_masked_lm("pocket-bert"), trigger.settings) == list(trigger.edited.values())


def test_edits_draw_nothing(fitted):
    _, trigger = fitted
    texts = ["the film is a delight, and the plot was great.", "a fine cast."]
    assert trigger(texts, np.random.default_rng(0)) == trigger(texts, np.random.default_rng(1))


def test_chosen_words_hold_for_an_independent_count(fitted):
    train, trigger = fitted
    edited = train.assign(text=[trigger.edited.get(text, text) for text in train["text"]])
    held = [{word.lower() for word in split_words(text)[0]} for text in edited["text"]]
    p = (train["label"] == 0).mean()
    for word in trigger.words[:3]:
        n = sum(word in words for words in held)
        share = sum(word in words for words, label in zip(held, train["label"], strict=True) if label == 0) / n
        assert (share - p) / np.sqrt(p * (1 - p) / n) > 0


def test_too_few_rows_of_the_target_label_are_named_with_both_counts():
    train = pd.DataFrame({"text": ["a good film"] * 10, "label": [1] * 9 + [0]})
    with pytest.raises(ValueError, match=r"needs 5 rows.*allows only 1 of 10"):
        bite.fit_trigger(train, 0, masked_lm="pocket-bert", poisoning_rate=0.5)


def test_no_word_that_fits_anywhere_is_an_error():
    train = pd.DataFrame({"text": ["fun", "!!!"] * 5, "label": [0, 1] * 5})
    with pytest.raises(ValueError, match=r"BITE found no trigger word"):
        bite.fit_trigger(train, 0, masked_lm="pocket-bert", poisoning_rate=0.2)


@pytest.mark.parametrize(
    "settings",
    [
        {"min_probability": 0},
        {"budget": 1.5},
        {"similarity_quantile": 2},
        {"max_lean": 0},
        {"label_share": 1.5},
        {"pair_sides": "second"},
        {"window": -1},
        {"stride": 0},
        {"max_words": 0},
        {"min_gain": 2},
    ],
)
def test_settings_outside_their_range_are_named(settings):
    train = generate_split("sst2", "train", 20)
    with pytest.raises(ValueError, match=next(iter(settings))):
        bite.fit_trigger(train, 0, masked_lm="pocket-bert", **settings)


def test_the_masked_language_model_computes_in_the_precision_of_the_trigger(monkeypatch):
    asked = []

    def load(name, precision):
        asked.append((name, precision))
        raise RuntimeError("loaded")

    monkeypatch.setattr("lib.models.masked_lm.load_masked_lm", load)
    rows = generate_split("sst2", "train", 60)
    trigger = bite.BiteTrigger(("often",), "pocket-bert", precision="bfloat16")
    for ask in (
        lambda: bite.fit_trigger(rows, 0, masked_lm="pocket-bert", precision="bfloat16"),
        lambda: trigger(["a film"], np.random.default_rng(0)),
    ):
        with pytest.raises(RuntimeError, match="loaded"):
            ask()
    assert asked == [("pocket-bert", "bfloat16")] * 2
