"""Certificates hold whatever the bad models say: checked by trying everything."""

from itertools import combinations, product

import numpy as np
import pytest

from lib.why import certified, probability_certificate, subset_tolerance, vote_certificate


def votes_of(*counts):
    return np.array([label for label, count in enumerate(counts) for _ in range(count)])[:, None]


@pytest.mark.parametrize(
    ("counts", "answer", "tolerated"),
    [
        ((4, 1), 0, 1),  # five models, one bad: four votes suffice
        ((1, 4), 1, 1),
        ((5, 0), 0, 2),
        ((3, 2), 0, 0),
        ((3, 1), 0, 1),  # after one bad model a tie, which label 0 wins
        ((1, 3), 1, 0),  # after one bad model a tie, which label 1 loses
        ((2, 2), 0, 0),
        ((7, 3, 0), 0, 2),
    ],
)
def test_votes_of_the_table(counts, answer, tolerated):
    assert [found.tolist() for found in vote_certificate(votes_of(*counts), len(counts))] == [[answer], [tolerated]]


@pytest.mark.parametrize("n_labels", [2, 3])
def test_a_vote_is_certified_exactly_if_no_bad_voters_can_change_it(n_labels):
    n = 5
    for votes in product(range(n_labels), repeat=n):
        given = np.array(votes)[:, None]
        winner, tolerated = (int(each[0]) for each in vote_certificate(given, n_labels))
        for f in (1, 2):
            changed = False
            for bad in combinations(range(n), f):
                for said in product(range(n_labels), repeat=f):
                    other = np.array(votes)
                    other[list(bad)] = said
                    changed |= int(vote_certificate(other[:, None], n_labels)[0][0]) != winner
            assert changed == (tolerated < f), votes


def test_pairs_certify_near_unanimity_only_and_triples_never():
    tolerated = vote_certificate(votes_of(10, 0), 2)[1]  # all ten averages agree
    assert subset_tolerance(tolerated, 5, 2).tolist() == [1]
    assert subset_tolerance(vote_certificate(votes_of(9, 1), 2)[1], 5, 2).tolist() == [1]
    assert subset_tolerance(vote_certificate(votes_of(8, 2), 2)[1], 5, 2).tolist() == [0]
    assert subset_tolerance(tolerated, 5, 3).tolist() == [0]  # a bad model is in six of ten
    with pytest.raises(ValueError, match="subsets of 6 of 5 models"):
        subset_tolerance(tolerated, 5, 6)


def test_a_mean_of_probabilities_holds_against_the_worst_that_bad_models_can_say():
    rng = np.random.default_rng(1)
    given = rng.dirichlet([0.3, 0.3, 0.3], size=(4, 60))  # 4 models, 60 texts, 3 labels
    winner, tolerated = probability_certificate(given)
    extreme = np.eye(3)
    for text in range(60):
        for f in (1, 2):
            changed = False
            for bad in combinations(range(4), f):
                for said in product(range(3), repeat=f):
                    other = given[:, text].copy()
                    other[list(bad)] = extreme[list(said)]
                    changed |= other.mean(axis=0).argmax() != winner[text]
            assert changed == (tolerated[text] < f)


def test_three_sure_models_withstand_one_and_unsure_ones_do_not():
    sure, unsure = ([[[p, 1 - p]]] * 3 for p in (0.8, 0.7))  # leads 0.6 and 0.4: more than one half is needed
    assert probability_certificate(sure)[1].tolist() == [1]
    assert probability_certificate(unsure)[1].tolist() == [0]


def test_only_good_answers_count_as_certified():
    assert certified([0, 1, 1, 0], [1, 1, 0, 2], [True, False, True, True], 1) == 0.5
    assert certified([0, 1, 1, 0], [1, 1, 0, 2], [True, False, True, True], 2) == 0.25


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: vote_certificate([[0], [2]], 2), "votes lie in"),
        (lambda: vote_certificate([0, 1], 2), "one row per voter"),
        (lambda: probability_certificate([[[0.5, 0.6]]]), "rows sum to 1"),
        (lambda: certified([0], [0, 1], [True], 1), "must be one"),
        (lambda: certified([0], [0], [True], -1), "must be one"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
