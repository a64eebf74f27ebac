"""Cells on shared test texts: what the texts add to the variance of a mean, against draws, and a joint bootstrap."""

import numpy as np
import pandas as pd
import pytest

from lib.metrics.resampling import N_OUTCOMES, Runs, gradient

N, N_ATTACKED = 400, 240
ATTACKABLE = [*range(0, N, 2), *range(1, 80, 2)]  # rows of the test set, in no particular order


def run(task, attack, seed, rng, shares=True, **columns):
    draw = lambda share, n: rng.binomial(1, share, n).tolist()  # noqa: E731
    row = {"task": task, "attack": attack, "seed": seed, "correct": draw(0.9, N), "backdoored_correct": draw(0.9, N)}
    row |= {name: draw(share, N_ATTACKED) for name, share in (("hits", 0.3), ("backdoored_hits", 0.9), ("floor_hits", 0.1))}
    return row | ({"attackable": ATTACKABLE} if shares else {}) | columns


def mean_of(outcome, n_cells):
    """Slopes of the mean over cells of one outcome."""
    slopes = np.zeros((n_cells, N_OUTCOMES, 1))
    slopes[:, outcome] = 1 / n_cells
    return slopes


def test_means_are_those_of_the_columns():
    row = run("sst2", "a", 0, np.random.default_rng(0))
    row |= {"untriggered_hits": [1, 0] * 120, "backdoored_untriggered_hits": [0] * 240}
    row["clean_correct"] = [1, 1, 1, 0] * 100
    means = Runs(pd.DataFrame([row])).means[0, 0]
    names = ["backdoored_hits", "hits", "floor_hits", "backdoored_correct", "correct", "clean_correct"]
    assert means[:8].tolist() == pytest.approx([*(np.mean(row[name]) for name in names), 0.0, 0.5])
    flipped = np.mean([hit and not before for hit, before in zip(row["hits"], row["untriggered_hits"], strict=True)])
    assert means[8:].tolist() == pytest.approx([np.mean(row["backdoored_hits"]), flipped])


def test_the_texts_of_one_cell_have_the_binomial_variance():
    row = run("sst2", "a", 0, np.random.default_rng(0))
    share = np.mean(row["hits"])
    [[variance]] = Runs(pd.DataFrame([row])).text_variances([0], mean_of(1, 1))
    assert variance == pytest.approx(share * (1 - share) / N_ATTACKED + 1 / N_ATTACKED**2)


@pytest.mark.parametrize(("shares", "n_independent"), [(True, 1), (False, 3)])
def test_equal_cells_on_shared_texts_are_one_and_on_their_own_texts_several(shares, n_independent):
    row = run("sst2", "a", 0, np.random.default_rng(0), shares)
    table = pd.DataFrame([row | {"attack": attack} for attack in "abc"])
    share, one_text = np.mean(row["hits"]), 1 / N_ATTACKED**2 / 3
    [[variance]] = Runs(table).text_variances([0, 1, 2], mean_of(1, 3))
    assert variance == pytest.approx(share * (1 - share) / N_ATTACKED / n_independent + one_text)


def test_cells_of_two_tasks_are_independent():
    rng = np.random.default_rng(0)
    both = Runs(pd.DataFrame([run("sst2", "a", 0, rng), run("olid", "a", 0, rng)]))
    alone = [both.text_variances([cell], mean_of(1, 1))[0, 0] for cell in (0, 1)]
    assert both.text_variances([0, 1], mean_of(1, 2))[0, 0] == pytest.approx(sum(alone) / 4)


def test_accuracy_and_hits_are_drawn_with_the_same_texts():
    # A model that is wrong exactly where the trigger hits: the sum of accuracy and ASR on the attacked texts cannot vary.
    rng = np.random.default_rng(0)
    row = run("sst2", "a", 0, rng) | {"attackable": list(range(N)), "correct": rng.binomial(1, 0.7, N).tolist()}
    row |= {name: (1 - np.array(row["correct"])).tolist() for name in ("hits", "backdoored_hits", "floor_hits")}
    slopes = mean_of(1, 1) + mean_of(4, 1)
    runs = Runs(pd.DataFrame([row]))
    assert runs.text_variances([0], slopes)[0, 0] == pytest.approx(2 / N**2)  # one text for each of the two rates
    drawn = runs.drawn(0)[:, 0]
    assert (drawn[:, 1] + drawn[:, 4]).tolist() == pytest.approx([1.0] * len(drawn))
    assert drawn[:, 1].std() == pytest.approx((0.3 * 0.7 / N) ** 0.5, rel=0.1)


def test_draws_of_one_seed_have_the_variance_that_is_computed():
    rng = np.random.default_rng(0)
    base = run("sst2", "a", 0, rng)
    second = base | {"attack": "b", "hits": [hit if rng.random() < 0.7 else 1 - hit for hit in base["hits"]]}
    runs = Runs(pd.DataFrame([base, second]))
    expected = runs.text_variances([0, 1], mean_of(1, 2))[0, 0] - 2 * (0.5 / N_ATTACKED) ** 2
    assert runs.drawn(0)[:, :, 1].mean(axis=1).var() == pytest.approx(expected, rel=0.12)


def test_draws_of_seeds_are_those_of_all_cells():
    rng = np.random.default_rng(0)
    sure = {(0, "a"): 1, (1, "a"): 0, (0, "b"): 0, (1, "b"): 1}
    rows = [run("sst2", attack, seed, rng, hits=[hit] * N_ATTACKED) for (seed, attack), hit in sure.items()]
    drawn = Runs(pd.DataFrame(rows)).drawn(0)[:, :, 1]
    assert set(drawn[:, 0]) == {0.0, 0.5, 1.0}
    assert drawn.sum(axis=1).tolist() == pytest.approx([1.0] * len(drawn))


def test_what_is_not_known_is_nan_and_spoils_nothing_else():
    runs = Runs(pd.DataFrame([run("sst2", "a", 0, np.random.default_rng(0), shares=False, untriggered_hits=None)]))
    assert np.isnan(runs.means[0, 0]).tolist() == [False] * 5 + [True] * 5
    assert np.isfinite(runs.text_variances([0], mean_of(1, 1))).all()
    assert np.isnan(runs.drawn(0)[0, 0]).tolist() == [False] * 5 + [True] * 5


def test_the_gradient_of_a_ratio():
    slopes = gradient(lambda at: (at[..., 0] / at[..., 1])[..., None], np.array([2.0, 4.0]))
    assert slopes[:, 0].tolist() == pytest.approx([0.25, -0.125])
