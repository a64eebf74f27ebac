"""Why merging works: margins and their bounds, derivatives along a path, parts of a model, certificates of several models.

Arrays and state dicts in, numbers out: no dataset and no store. May import: `models`, `merging`, `metrics`.
"""

from lib.why.certificates import (
    certified,
    probability_certificate,
    subset_tolerance,
    vote_certificate,
)
from lib.why.margins import (
    cantelli,
    counted_asr,
    curvature_bounds,
    ensemble,
    fitted_exponent,
    fitted_share,
    gaussian_asr,
    guaranteed_asr,
    lead,
    path_place,
    strength_left,
)
from lib.why.parts import added_tokens, module_groups, norm_shares, swapped
from lib.why.shapley import all_subsets, shapley_values
from lib.why.thinning import energies, largest_entries, leading_directions, stable_rank

__all__ = [
    "added_tokens",
    "all_subsets",
    "cantelli",
    "certified",
    "counted_asr",
    "curvature_bounds",
    "energies",
    "ensemble",
    "fitted_exponent",
    "fitted_share",
    "gaussian_asr",
    "guaranteed_asr",
    "largest_entries",
    "lead",
    "leading_directions",
    "module_groups",
    "norm_shares",
    "path_place",
    "probability_certificate",
    "shapley_values",
    "stable_rank",
    "strength_left",
    "subset_tolerance",
    "swapped",
    "vote_certificate",
]
