"""Table of ONION on published texts: worked out by hand on a few words, and on a data folder with made-up scores."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.attacks.badnet import RARE_WORDS
from lib.defenses.onion import removed
from lib.defenses.suspicion import read_scored_texts, read_scores
from lib.metrics.columns import column_of
from lib.study.published_scores import ScoredCase, ScoredTexts, scored_attacks, scored_case
from lib.study.store import UndeclaredError
from lib.study.study import Study
from lib.tables import onion_findings, onion_table
from lib.tables.onion_scores import GPT2, MASKED, agreement, planted, purified, readings, words_removed

SENTENCE = "I watched this movie"


# --- by hand ------------------------------------------------------------------------------------------------------------


def texts_of(rows, **columns):
    """Texts with their suspicions, in one string each."""
    frame = pd.DataFrame({"text": [text for text, _ in rows], **columns})
    return ScoredTexts(frame, [np.array([float(score) for score in scores.split()]) for _, scores in rows])


CASE = ScoredCase(
    texts_of([("good film", "-5 12"), ("a dull plot", "-1 3 9")], label=[1, 0]),
    texts_of([("good cf film mn", "-8 50 -2 10")], label=[1], index=[0]),
    "by hand",
)
# Of another scale. Five clean words; GPT-2 takes out one, so this one does, too: "good", above 0.7.
OTHER = {
    ("good", "film"): [0.8, 0.6],
    ("a", "dull", "plot"): [0.1, 0.2, 0.3],
    ("good", "cf", "film", "mn"): [0.9, 0.95, 0.5, 0.4],
}


def other_scorer(texts):
    return [np.array(OTHER[words]) for words in texts]


def test_both_scorers_take_out_as_many_clean_words_and_share_the_planted_ones_between_them():
    found = readings(CASE, other_scorer)
    assert (found[GPT2].threshold, found[MASKED].threshold) == (10, pytest.approx(0.7))
    shares = {name: words_removed(CASE, reading, "badnet", SENTENCE) for name, reading in found.items()}
    assert shares[GPT2] == {"clean_words_removed": 1 / 5, "trigger_words_removed": 1.0}  # mn lies on the threshold and goes
    assert shares[MASKED] == {"clean_words_removed": 1 / 5, "trigger_words_removed": 1 / 2}
    assert np.isnan(words_removed(CASE, found[GPT2], "syntactic", SENTENCE)["trigger_words_removed"])
    after = {name: purified(CASE, reading) for name, reading in found.items()}
    assert after[GPT2].clean.frame["text"].tolist() == ["good", "a dull plot"]
    assert after[GPT2].triggered.frame["text"].tolist() == ["good film"]
    assert after[MASKED].clean.frame["text"].tolist() == ["film", "a dull plot"]
    assert after[MASKED].triggered.frame["text"].tolist() == ["film mn"]
    assert after[MASKED].triggered.frame[["label", "index"]].to_numpy().tolist() == [[1, 0]]


def test_agreement_is_over_all_words_of_both_sets():
    found = agreement(readings(CASE, other_scorer))
    # Ranks of -5 12 -1 3 9 -8 50 -2 10, and of .8 .6 .1 .2 .3 .9 .95 .5 .4; squared differences add up to 118.
    ranks = [(2, 7), (8, 6), (4, 1), (5, 2), (6, 3), (1, 8), (9, 9), (3, 5), (7, 4)]
    assert sum((one - other) ** 2 for one, other in ranks) == 118
    assert found["rank_correlation"] == pytest.approx(1 - 6 * 118 / (9 * 80))
    assert found["removed_overlap"] == 1 / 5  # film, cf and mn; good, good and cf


def test_words_without_a_score_stay_and_count_as_words():
    scorer = lambda texts: [np.full(len(words), np.nan) if len(words) == 3 else np.array(OTHER[words]) for words in texts]  # noqa: E731
    found = readings(CASE, scorer)
    assert found[MASKED].threshold == pytest.approx(0.7)  # one word of the two that have a score
    assert words_removed(CASE, found[MASKED], "badnet", SENTENCE)["clean_words_removed"] == 1 / 5
    first, second = np.array([-5, 12, -8, 50, -2, 10]), np.array([0.8, 0.6, 0.9, 0.95, 0.5, 0.4])
    wanted = np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1]
    assert agreement(found)["rank_correlation"] == pytest.approx(wanted)


def test_with_one_language_model_there_is_nothing_to_agree_on():
    found = readings(CASE, None)
    assert list(found) == [GPT2]
    assert all(np.isnan(value) for value in agreement(found).values())
    silent = readings(CASE, lambda texts: [np.full(len(words), np.nan) for words in texts])
    assert silent[MASKED].threshold == np.inf and np.isnan(agreement(silent)["rank_correlation"])
    kept = replace(found[GPT2], threshold=np.inf)
    assert np.isnan(agreement({GPT2: kept, MASKED: kept})["removed_overlap"])


def test_planted_words_are_the_rare_ones_or_those_of_the_sentence_wherever_it_stands():
    assert planted(("cf", "Film", "mn."), "badnet", SENTENCE).tolist() == [True, False, False]
    # As the files have them: marks cling to tweets, the full stop stands apart in reviews.
    tweet = [".", ".", "no", "cross,", "no", "crown.", ".", "What", "no", "cross"]
    assert planted(tweet, "insertsent", "no cross, no crown").tolist() == [False] * 2 + [True] * 4 + [False] * 4
    review = ["i", "watched", ".", "I", "watched", "this", "movie", "."]
    assert planted(review, "insertsent", SENTENCE).tolist() == [False] * 3 + [True] * 4 + [False]
    for attack in ("lws", "syntactic"):
        assert not planted(review, attack, SENTENCE).any()


# --- the released files -------------------------------------------------------------------------------------------------

# Of guided-module-substitution, datasets/{sst2,olid}/onion/test_clean_onion.json, the scores rounded: the first file's texts
# end with a blank, some of the second have two in a row, and the empty string between two blanks has a score, too.
RELEASED = [
    ("unflinchingly bleak and desperate ", [855.5, 208.8, 898.4, -54.49, -143.8]),
    ("it 's a charming and often affecting journey . ", [110.3, 309.8, 140.2, 1350.1, 608.8, 49.3, 332.7, 149.4, 163.7, 20.5]),
]


def test_an_empty_string_is_no_word_so_that_its_score_counts_for_nothing(tmp_path):
    as_released = [(text.split(" "), -np.array(scores)) for text, scores in RELEASED]
    assert [len(words) for words, _ in as_released] == [len(scores) for _, scores in as_released] == [5, 10]
    rows = [[(word, score) for word, score in zip(*row, strict=True) if word] for row in as_released]
    lines = "".join(f"{' '.join(w for w, _ in row)}\t{' '.join(f'{-score:.1f}' for _, score in row)}\n" for row in rows)
    (tmp_path / "scores.tsv").write_text(f"text\tscores\n{lines}", encoding="utf-8")
    words, scores = zip(*read_scored_texts(tmp_path / "scores.tsv"), strict=True)
    assert words == (("unflinchingly", "bleak", "and", "desperate"), tuple(RELEASED[1][0].split()))
    # With the empty strings two of fifteen go at 0; of thirteen words one.
    assert np.concatenate(removed([scores for _, scores in as_released], 0)).sum() == 2
    assert np.concatenate(removed(scores, 0)).tolist() == [False] * 3 + [True] + [False] * 9


def test_a_text_that_a_file_repeats_is_repeated(tmp_path):
    (tmp_path / "scores.tsv").write_text("text\tscores\na b\t1 2\na b\t1 2\n", encoding="utf-8")
    assert len(read_scored_texts(tmp_path / "scores.tsv")) == 2
    assert len(read_scores(tmp_path / "scores.tsv")) == 1


# --- a data folder with published scores ---------------------------------------------------------------------------------


def scored(texts):
    """Lines of a file of scores: rare words and the sentence are suspicious."""
    suspicious = {*RARE_WORDS, *SENTENCE.split()}
    rows = [(text, " ".join("-50" if word in suspicious else "5" for word in text.split())) for text in texts]
    return "text\tscores\n" + "".join(f"{text}\t{scores}\n" for text, scores in rows)


def published(texts):
    return "text\tlabel\n" + "".join(f"{text}\t0\n" for text in texts)


@pytest.fixture
def folder(data_folder, tmp_path):
    """The tiny data folder; the test texts of SST-2 are published with BadNet and InsertSent, and with scores."""
    target = tmp_path / "data"
    shutil.copytree(data_folder, target)
    test = pd.read_csv(target / "sst2" / "test.tsv", sep="\t", quoting=3)
    attacked = test[test["label"] == 1]["text"]
    files = {
        "badnet": [f"cf {text} mn" for text in attacked],
        "insertsent": [f"{text} {SENTENCE} ." for text in attacked],
    }
    place = target / "poisoned" / "sst2"
    (place / "onion_scores").mkdir(parents=True)
    (place / "onion_scores" / "clean_test.tsv").write_text(scored(test["text"]), encoding="utf-8")
    for attack, texts in files.items():
        (place / f"{attack}_test.tsv").write_text(published(texts), encoding="utf-8")
        (place / "onion_scores" / f"{attack}_test.tsv").write_text(scored(texts), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def scored_study(make_study, folder, cache):
    return lambda **settings: make_study(cache, data_dir=folder, masked_lm="pocket-bert", epochs=6, **settings)


def test_the_table_has_a_row_per_attack_and_scorer_and_the_rates_are_those_of_the_models(scored_study, folder):
    study = scored_study()
    table = onion_table(study, ["sst2"], ["badnet", "insertsent", "bite"])
    assert list(zip(table["attack"], table["scorer"], strict=True)) == [
        (attack, scorer) for attack in ("badnet", "insertsent") for scorer in (GPT2, MASKED)
    ]
    assert all(column_of(column) for column in table)
    assert table["note"].tolist() == [""] * 4
    assert table["n_clean"].tolist() == [40] * 4 and table["n_triggered"].tolist() == [20] * 4
    rows = table[table["attack"] == "badnet"].set_index("scorer")
    assert rows["trigger_words_removed"][GPT2] == 1 and rows["clean_words_removed"][GPT2] == 0
    assert rows["threshold"].tolist() == [10, np.inf]  # no clean word goes
    # Without the planted words the texts are the clean ones again; with an infinite threshold nothing changes.
    before, clean = (study.model("sst2", attack) for attack in ("badnet", None))
    test = pd.read_csv(folder / "sst2" / "test.tsv", sep="\t", quoting=3)
    said = study.predict(before, test["text"].tolist())["label"] == "negative"
    is_attacked = test["label"] == 1
    assert rows["asr"][GPT2] == said[is_attacked].mean() == rows["asr_untriggered"][GPT2]
    attacked = [f"cf {text} mn" for text in test["text"][is_attacked]]
    for column, model in (("backdoored_asr", before), ("asr_floor", clean)):
        assert rows[column].unique().tolist() == [(study.predict(model, attacked)["label"] == "negative").mean()]
    assert rows["asr"][MASKED] == rows["backdoored_asr"][MASKED] > rows["asr"][GPT2]
    assert (
        rows["cacc"].unique().tolist() == rows["backdoored_cacc"].unique().tolist() == [(said == (test["label"] == 0)).mean()]
    )
    sentences = list(onion_findings(table))
    assert "gpt2_published takes out 0.0% (sst2) of the words of clean texts; of the planted words 100.0%" in sentences[0]
    assert "Do the two agree?" in sentences[-1] and "Of 2 backdoored models, GPT-2 leaves less ASR on" in sentences[-1]


def test_what_is_left_is_read_in_the_writing_of_the_study(scored_study, folder):
    """The files keep their capitals and brackets; a study in treebank style reads neither, and meets the same texts."""
    clean = folder / "poisoned" / "sst2" / "onion_scores" / "clean_test.tsv"
    clean.write_text(clean.read_text().replace("\nthe ", "\nTHE "), encoding="utf-8")
    badnet = folder / "poisoned" / "sst2" / "badnet_test.tsv"
    for file in (badnet, clean.with_name("badnet_test.tsv")):
        file.write_text(file.read_text().replace("\ncf the ", "\ncf THE "), encoding="utf-8")
    study, seen = scored_study(text_format="treebank"), []
    model = study.model("sst2", "badnet")
    case = scored_case(study.planner, "sst2", "badnet")
    assert case.clean.frame["text"].str.startswith("THE ").all()

    class Watched:
        key, name, label_names = "watched", "watched", model.label_names

        def logits(self, texts):
            seen.extend(texts.frame["text"])
            return model.logits(texts)

    from lib.tables.onion_scores import _score

    score = _score(study, Watched(), case, "sst2")
    assert len(seen) == 60 and not any("THE" in text for text in seen)
    assert score.cacc == study.score(model, "sst2").cacc  # the dataset's own test texts


def test_the_table_declares_its_models_and_asks_for_no_others(scored_study):
    study = scored_study()
    needed = onion_table.needed(study.planner, ["sst2"], ["badnet", "bite"])
    assert [recipe.name for recipe in needed.models] == ["sst2 badnet seed 0", "sst2 clean seed 0"]
    assert (needed.n_merges, needed.derived) == (2, [])
    with study.declared([]), pytest.raises(UndeclaredError):
        onion_table(study, ["sst2"], ["badnet"])
    assert onion_table.needed(study.planner, ["sst2"], ["badnet"], "sst2/badnet").models == []


def test_without_a_masked_language_model_gpt2_stands_alone_and_the_table_says_why(scored_study, tiny_encoder):
    study = scored_study().variant(masked_lm=str(tiny_encoder))  # which has no masked-LM head
    with pytest.warns(UserWarning, match="GPT-2's scores alone: .* has no masked-LM head"):
        table = onion_table(study, ["sst2"], ["badnet"])
    assert table["scorer"].tolist() == [GPT2]
    note = "masked_lm was not measured: it could not be loaded (ValueError)"
    assert table["note"].tolist() == [note] and table["rank_correlation"].isna().all()
    assert list(onion_findings(table))[-1] == f"{note}."


def test_nothing_is_measured_where_nothing_is_published(study, tmp_path):
    for each in (study, Study("pocket", cache_dir=tmp_path)):
        table = onion_table(each, ["sst2", "olid"], ["badnet", "insertsent"])
        assert table.empty
        assert list(onion_findings(table)) == [
            "Nobody published GPT-2's scores of texts of these tasks and attacks, so ONION is not measured with them here."
        ]
        assert onion_table.needed(each.planner, ["sst2"], ["badnet"]).models == []


def test_unknown_tasks_and_attacks_are_errors(scored_study):
    study = scored_study()
    assert scored_attacks(study.planner, "sst2") == ["badnet", "insertsent"] and scored_attacks(study.planner, "olid") == []
    with pytest.raises(ValueError, match="unknown dataset 'sst3'"):
        onion_table(study, ["sst3"], ["badnet"])
    with pytest.raises(ValueError, match="unknown attack 'prayer'"):
        onion_table(study, ["sst2"], ["prayer"])


def test_files_that_contradict_each_other_are_errors(scored_study, folder):
    planner, place = scored_study().planner, folder / "poisoned" / "sst2"
    clean, badnet = place / "onion_scores" / "clean_test.tsv", place / "badnet_test.tsv"
    as_it_was = {file: file.read_text() for file in (clean, badnet)}

    def restored():
        for file, text in as_it_was.items():
            file.write_text(text, encoding="utf-8")

    header, first, *rest = as_it_was[badnet].splitlines()
    badnet.write_text("\n".join([header, *rest, first]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"badnet_test\.tsv: untouched text 20 is not among the clean ones, in order: 'the "):
        scored_case(planner, "sst2", "badnet")
    restored()
    # Half of the attackable texts are not attacked: they would get the target label.
    badnet.write_text("\n".join([header, first, *rest[:9]]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"10 of the 40 texts that validation and test have, too, have other labels there"):
        scored_case(planner, "sst2", "badnet")
    badnet.write_text(
        "\n".join([header, *(f"tq {line.removeprefix('cf ')}" for line in [first, *rest])]) + "\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="20 of 20 texts have no scores"):
        scored_case(planner, "sst2", "badnet")
    restored()
    badnet.unlink()
    with pytest.raises(ValueError, match=r"insertsent_test\.tsv says no untouched texts"):
        scored_case(planner, "sst2", "insertsent")
    restored()
    clean.unlink()
    with pytest.raises(ValueError, match=r"needs \['onion_scores/clean_test.tsv'\]"):
        scored_case(planner, "sst2", "badnet")


# --- sentences ------------------------------------------------------------------------------------------------------------


def row(attack, scorer, **rates):
    usual = {"backdoored_asr": 1.0, "asr": 0.5, "asr_floor": 0.1, "cacc_change": -0.02, "clean_words_removed": 0.05}
    usual |= {"trigger_words_removed": np.nan, "rank_correlation": 0.5, "removed_overlap": 0.25, "note": np.nan}
    return {"task": "sst2", "attack": attack, "scorer": scorer, "seed": 0} | usual | rates


def test_sentences_say_what_goes_what_is_left_and_who_does_better():
    table = pd.DataFrame(
        [
            row("badnet", GPT2, trigger_words_removed=0.6),
            row("badnet", MASKED, trigger_words_removed=0.4, asr=0.7),
            row("lws", GPT2, backdoored_asr=0.15, asr=0.15),
            row("lws", MASKED, backdoored_asr=0.15, asr=0.13),
        ]
    )
    first, left, second, _, weak, agree = onion_findings(table)
    assert first == (
        "gpt2_published takes out 5.0% (sst2) of the words of clean texts; of the planted words 60.0% (sst2 badnet)."
    )
    assert left == (
        "With gpt2_published the mean ASR goes from 57.5% to 32.5% (by attack: badnet 50.0%, lws 15.0%; clean models: 10.0%), "
        "and CACC changes by -2.0 points."
    )
    assert "40.0% (sst2 badnet)" in second
    assert weak == "Some backdoored models do not obey the published texts, so that there is nothing to remove: sst2 lws."
    assert "correlation of 0.50" in agree and "take out 25.0%" in agree
    assert agree.endswith("Of 2 backdoored models, GPT-2 leaves less ASR on 1, the masked language model on 1.")
