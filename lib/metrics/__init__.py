"""Numbers from outcomes: CACC, ASR and what stands beside it, intervals, exact tests, how visible a trigger is.

May import: nothing of this package. It knows arrays and tables of numbers, no dataset, no tokenizer and no model.
"""

from lib.metrics.intervals import seed_interval, text_variance, wilson_interval
from lib.metrics.rates import (
    attack_outcomes,
    attack_success_rate,
    clean_accuracy,
    excess_asr,
    flip_rate,
    loss_barrier,
    pareto_front,
    removed_share,
)
from lib.metrics.reduction import cells_of, interval_table, means_by, most_models, reduction_table
from lib.metrics.scores import Score, score_logits
from lib.metrics.significance import holm, mcnemar_p_value, sign_flip_p_value
from lib.metrics.stealth import stealth
from lib.metrics.summary import points, summarise
from lib.metrics.variation import explained_shares

__all__ = [
    "Score",
    "attack_outcomes",
    "attack_success_rate",
    "cells_of",
    "clean_accuracy",
    "excess_asr",
    "explained_shares",
    "flip_rate",
    "holm",
    "interval_table",
    "loss_barrier",
    "mcnemar_p_value",
    "means_by",
    "most_models",
    "pareto_front",
    "points",
    "reduction_table",
    "removed_share",
    "score_logits",
    "seed_interval",
    "sign_flip_p_value",
    "stealth",
    "summarise",
    "text_variance",
    "wilson_interval",
]
