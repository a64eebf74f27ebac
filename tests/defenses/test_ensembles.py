"""Ensembles of probabilities and votes: n copies are the model, ties, temperatures, rejected texts."""

import numpy as np
import pytest

from lib.defenses import DEFENSES, SPECIAL
from lib.defenses.ensembles import probability_ensemble, vote
from lib.metrics.scores import predicted_labels
from lib.models.prediction import probabilities
from lib.study import chosen_defenses

SAID = np.array([[2.0, 1.0, 0.0], [0.0, 0.5, 3.0]], dtype=np.float32)


def test_copies_of_one_model_say_what_it_says():
    assert probabilities(probability_ensemble([SAID] * 4)) == pytest.approx(probabilities(SAID), abs=1e-6)
    assert vote([SAID] * 4).argmax(axis=1).tolist() == SAID.argmax(axis=1).tolist() == [0, 2]


def test_one_very_sure_model_outshouts_logits_but_not_probabilities_or_votes():
    loud, calm = np.array([[0.0, 100.0]], dtype=np.float32), np.array([[3.0, 0.0]], dtype=np.float32)
    assert DEFENSES["logit_ensemble"].function([loud, calm, calm]).argmax() == 1
    assert probability_ensemble([loud, calm, calm]).argmax() == vote([loud, calm, calm]).argmax() == 0


def test_of_labels_with_equal_votes_the_lower_one_wins():
    votes = vote([np.array([[0.0, 1.0]]), np.array([[5.0, 1.0]])])
    assert votes.tolist() == [[1.0, 1.0]] and predicted_labels(votes).tolist() == [0]
    assert predicted_labels(vote([np.eye(3)[[2]], np.eye(3)[[1]], np.eye(3)[[2]], np.eye(3)[[1]]])).tolist() == [1]


def test_temperatures_divide_the_logits_of_their_model():
    sure, other = 4 * SAID, -SAID
    assert probability_ensemble([sure, other], temperatures=(4.0, 1.0)) == pytest.approx(probability_ensemble([SAID, other]))
    assert probability_ensemble([sure, other]) != pytest.approx(probability_ensemble([SAID, other]))
    with pytest.raises(ValueError, match=r"temperatures are \(1.0,\) for 2 models; give one above 0 for each"):
        probability_ensemble([SAID, SAID], temperatures=(1.0,))
    with pytest.raises(ValueError, match="give one above 0 for each"):
        probability_ensemble([SAID], temperatures=(0.0,))


def test_a_model_that_rejects_a_text_has_no_vote_on_it():
    rejected = np.array([[np.nan, np.nan], [1.0, 0.0]], dtype=np.float32)
    assert predicted_labels(vote([rejected, np.array([[0.0, 1.0]] * 2)])).tolist() == [1, 0]
    assert predicted_labels(vote([rejected])).tolist() == [-1, 0]
    assert predicted_labels(probability_ensemble([rejected])).tolist() == [-1, 0]


@pytest.mark.parametrize("combine", [vote, probability_ensemble])
def test_no_model_is_an_error(combine):
    with pytest.raises(ValueError, match="an ensemble needs at least one model; found none"):
        combine([])


def test_all_defenses_of_notebook_12_leave_out_those_of_notebook_15():
    assert not set(chosen_defenses("all")) & set(SPECIAL)
    assert chosen_defenses("average, vote") == ["average", "vote"]
