"""Do 95 % intervals cover? Studies are simulated whose truth is known: seeds differ, texts are drawn, all with known spreads.

A seed stands for everything that is drawn anew with it: rows, batches, head, partners, test texts. The spreads are those of the
pocket study: means over 20 cells differ between seeds by 1 to 2 points, single cells by 1 to 8, and a cell has some 250 texts.
"""

import numpy as np
import pytest

from lib.metrics.intervals import seed_interval

N_TEXTS, N_CELLS, N_STUDIES = 250, 20, 4000


def logistic(values):
    return 1 / (1 + np.exp(-values))


def cell_studies(n_seeds, centre, spread, rng):
    """ASR of one cell: truth, observed rates and variances from the texts, both of shape (seed, study)."""
    truth = logistic(centre + spread * rng.standard_normal(200_000)).mean()
    rates = logistic(centre + spread * rng.standard_normal((n_seeds, N_STUDIES)))
    return truth, *observed(rates, rng)


def observed(rates, rng):
    found = rng.binomial(N_TEXTS, rates) / N_TEXTS
    return found, found * (1 - found) / N_TEXTS + 1 / N_TEXTS**2


def mean_studies(n_seeds, rng, centre=0.75, of_seed=0.01, of_cell=0.05):
    """Points, mean over cells: a seed moves all cells together, and each cell on its own."""
    cells = rng.uniform(centre - 0.2, centre + 0.2, N_CELLS)[:, None, None]
    rates = cells + of_seed * rng.standard_normal((1, n_seeds, N_STUDIES))
    rates = np.clip(rates + of_cell * rng.standard_normal((N_CELLS, n_seeds, N_STUDIES)), 0, 1)
    found, variances = observed(rates, rng)
    return cells.mean(), found.mean(axis=0), variances.sum(axis=0) / N_CELLS**2


def covered(truth, low, high):
    return ((low <= truth) & (truth <= high)).mean()


def bootstrap(values, variances, rng, n_draws=300):
    """Percentile intervals of the hierarchical bootstrap: seeds are drawn, then their texts, here as normal noise."""
    picked = rng.integers(len(values), size=(len(values), n_draws, 1))
    seeds, noise = (np.take_along_axis(array[:, None], picked, axis=0) for array in (values, np.sqrt(variances)))
    return np.quantile((seeds + noise * rng.standard_normal(seeds.shape)).mean(axis=0), (0.025, 0.975), axis=0)


@pytest.mark.parametrize(("n_seeds", "most_by_bootstrap"), [(3, 0.90), (6, 0.945)])
def test_the_t_interval_of_a_headline_mean_covers_and_the_bootstrap_does_not(n_seeds, most_by_bootstrap):
    rng = np.random.default_rng(n_seeds)
    truth, values, variances = mean_studies(n_seeds, rng)
    assert 0.94 <= covered(truth, *seed_interval(values, variances)) <= 0.985
    assert covered(truth, *bootstrap(values, variances, rng)) < most_by_bootstrap


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_the_t_interval_covers_for_several_means_at_once_with_bonferroni(n_seeds):
    rng = np.random.default_rng(n_seeds)
    four = [mean_studies(n_seeds, rng) for _ in range(4)]
    inside = [
        (low <= truth) & (truth <= high)
        for truth, values, variances in four
        for low, high in [seed_interval(values, variances, 1 - 0.05 / 4)]
    ]
    assert np.all(inside, axis=0).mean() >= 0.945


@pytest.mark.parametrize("n_seeds", [3, 6])
@pytest.mark.parametrize("centre", [0.2, 0.5, 0.9, 0.97, 0.99, 0.999])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_t_interval_of_a_cell_covers_also_near_the_ends_of_the_scale(n_seeds, centre, spread):
    rng = np.random.default_rng(0)
    truth, values, variances = cell_studies(n_seeds, np.log(centre / (1 - centre)), spread, rng)
    low, high = seed_interval(values, variances)
    assert covered(truth, np.maximum(low, 0), np.minimum(high, 1)) >= 0.94


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_without_the_texts_the_t_interval_of_seeds_that_are_all_right_covers_nothing(n_seeds):
    truth, values, variances = cell_studies(n_seeds, np.log(0.999 / 0.001), 0.0, np.random.default_rng(0))
    assert covered(truth, *seed_interval(values)) < 0.8
    assert covered(truth, *seed_interval(values, variances)) >= 0.99


@pytest.mark.parametrize(("n_seeds", "least", "most"), [(3, 0.75, 0.85), (6, 0.77, 0.87)])
def test_what_the_docstring_admits_of_cells_in_which_single_seeds_fail_wholly(n_seeds, least, most):
    rng = np.random.default_rng(0)  # mean 0.93, and a tail of seeds far below
    truth, values, variances = cell_studies(n_seeds, np.log(0.97 / 0.03), 1.5, rng)
    assert least < covered(truth, *seed_interval(values, variances)) < most
