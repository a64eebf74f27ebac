"""Exercise answers: "not attempted", "correct", or what is wrong and on which input; `hint=1` and more help on the way.

One check per exercise, and no exercise in two notebooks. `start` has those of notebooks 00 to 04, `middle` 05 to 09, `late` the
others; the files `open_*` those that have no one answer, and are scored by the study.
"""

from lib.notebook.exercises.late import (
    adapter_size,
    clipped_length,
    factor_error,
    filtered_cacc,
    matching_size,
    norm_matched,
    parts_of_price,
    replacement_scale,
    seeds_needed,
    share_of_length,
    suspicion,
    three_reductions,
)
from lib.notebook.exercises.middle import (
    barrier,
    best_single_domain,
    colluders_needed,
    front,
    lowest_rate,
    majority,
    merge_agreeing,
    n_subsets,
    partner_weight,
    rows_needed,
)
from lib.notebook.exercises.open_late import open_budget, open_coefficient, open_filter, open_labels, open_merge, open_norms
from lib.notebook.exercises.open_models import open_attack, open_everywhere, open_team
from lib.notebook.exercises.open_numbers import open_interval, open_law
from lib.notebook.exercises.open_start import open_partners, open_rule, open_trigger, open_weights, open_words
from lib.notebook.exercises.start import (
    asr,
    average,
    backdoored_share,
    clean_label_share,
    label_bias,
    majority_accuracy,
    models_needed,
    n_poisoned,
    removed,
    worst_domain,
)

__all__ = [
    "adapter_size",
    "asr",
    "average",
    "backdoored_share",
    "barrier",
    "best_single_domain",
    "clean_label_share",
    "clipped_length",
    "colluders_needed",
    "factor_error",
    "filtered_cacc",
    "front",
    "label_bias",
    "lowest_rate",
    "majority",
    "majority_accuracy",
    "matching_size",
    "merge_agreeing",
    "models_needed",
    "n_poisoned",
    "n_subsets",
    "norm_matched",
    "open_attack",
    "open_budget",
    "open_coefficient",
    "open_everywhere",
    "open_filter",
    "open_interval",
    "open_labels",
    "open_law",
    "open_merge",
    "open_norms",
    "open_partners",
    "open_rule",
    "open_team",
    "open_trigger",
    "open_weights",
    "open_words",
    "partner_weight",
    "parts_of_price",
    "removed",
    "replacement_scale",
    "rows_needed",
    "seeds_needed",
    "share_of_length",
    "suspicion",
    "three_reductions",
    "worst_domain",
]
