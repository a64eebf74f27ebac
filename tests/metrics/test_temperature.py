"""Temperature scaling: what is known of the best temperature, and its bounds."""

import numpy as np
import pytest

from lib.metrics.scores import cross_entropy
from lib.metrics.temperature import HIGHEST, LOWEST, fit_temperature


def test_logits_that_are_too_large_by_a_factor_get_that_factor_more():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    labels = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(1, abs=0.1)  # labels drawn from the model's own probabilities
    assert fit_temperature(5 * logits, labels) == pytest.approx(5 * fitted, rel=1e-3)
    assert cross_entropy(logits / fitted, labels) <= min(cross_entropy(logits / t, labels) for t in (0.5, 0.9, 1.1, 2))


def test_a_model_that_is_always_or_never_right_gets_a_bound():
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, [0, 1]) == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(logits, [1, 0]) == pytest.approx(HIGHEST, rel=1e-3)
    with pytest.raises(ValueError, match="fitted on texts; found none"):
        fit_temperature(np.zeros((0, 2)), [])
