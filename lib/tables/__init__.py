"""The tidy tables, one file per chapter: each trains what is missing, scores it, and returns a frame.

May import: `study` and everything below it, no figure and no notebook.
"""

from lib.tables.agreement import agreement_table
from lib.tables.architectures import architectures_table, heads_table, size_findings
from lib.tables.attacks import attacks_table, loss_curves
from lib.tables.barrier import barrier_table, strayed_findings, strayed_table
from lib.tables.clean_sets import clean_sets_findings, clean_sets_table
from lib.tables.coefficient import chosen_coefficients, coefficient_table, task_arithmetic_table
from lib.tables.collusion import backdoored_table, collusion_table
from lib.tables.compared import compared_means, four_models, model_means, suspect_findings
from lib.tables.composition import composition_table
from lib.tables.composition_findings import composition_findings
from lib.tables.deciding import deciding_parts, deciding_table
from lib.tables.deciding_findings import deciding_findings
from lib.tables.defenses import assumptions_table, compared_with_merging, defense_findings, defense_means, defenses_table
from lib.tables.detection import detection_findings, detection_table, open_findings
from lib.tables.distillation import distillation_table
from lib.tables.distillation_findings import (
    compared_students,
    distillation_findings,
    distillation_outcomes,
    student_means,
)
from lib.tables.domains import domains_table, kinds_findings, partner_kinds_table, subsets_at_distance
from lib.tables.epochs import epochs_table
from lib.tables.findings import headline_findings, stability_finding
from lib.tables.headline import headline_table, intervals_table, tests_table
from lib.tables.limits import attackers_overview, limits_table, scaling_table
from lib.tables.limits_findings import compared_attackers, limits_findings, limits_outcomes, private_rows, scaling_findings
from lib.tables.merging import merging_table, suspect_table
from lib.tables.methods import kept_table, methods_table, sweeps_table, usable_variants
from lib.tables.onion_scores import onion_findings, onion_table
from lib.tables.partner_accuracy import partner_findings, partners_table
from lib.tables.partners import kinds_of_partners, left_out_partners
from lib.tables.plane import plane_findings, plane_table
from lib.tables.poisoning_rate import poisoning_rates_table
from lib.tables.published import published_findings, published_table
from lib.tables.stealth import stealth_table
from lib.tables.story import story_table
from lib.tables.tasks import tasks_table, transfer_table
from lib.tables.why import (
    Picture,
    assumptions_of_merging,
    certificate_findings,
    certificates_table,
    collapse_table,
    domains_findings,
    example_leads,
    hidden_findings,
    hidden_table,
    kept_findings,
    margin_findings,
    margins_table,
    module_findings,
    modules_table,
    picture_table,
    predict_findings,
    predicted_coefficients,
    proposition_findings,
    propositions_table,
    rank_findings,
    rank_table,
    sides_of_ways,
    state_points,
)

__all__ = [
    "Picture",
    "agreement_table",
    "architectures_table",
    "assumptions_of_merging",
    "assumptions_table",
    "attackers_overview",
    "attacks_table",
    "backdoored_table",
    "barrier_table",
    "certificate_findings",
    "certificates_table",
    "chosen_coefficients",
    "clean_sets_findings",
    "clean_sets_table",
    "coefficient_table",
    "collapse_table",
    "collusion_table",
    "compared_attackers",
    "compared_means",
    "compared_students",
    "compared_with_merging",
    "composition_findings",
    "composition_table",
    "deciding_findings",
    "deciding_parts",
    "deciding_table",
    "defense_findings",
    "defense_means",
    "defenses_table",
    "detection_findings",
    "detection_table",
    "distillation_findings",
    "distillation_outcomes",
    "distillation_table",
    "domains_findings",
    "domains_table",
    "epochs_table",
    "example_leads",
    "four_models",
    "headline_findings",
    "headline_table",
    "heads_table",
    "hidden_findings",
    "hidden_table",
    "intervals_table",
    "kept_findings",
    "kept_table",
    "kinds_findings",
    "kinds_of_partners",
    "left_out_partners",
    "limits_findings",
    "limits_outcomes",
    "limits_table",
    "loss_curves",
    "margin_findings",
    "margins_table",
    "merging_table",
    "methods_table",
    "model_means",
    "module_findings",
    "modules_table",
    "onion_findings",
    "onion_table",
    "open_findings",
    "partner_findings",
    "partner_kinds_table",
    "partners_table",
    "picture_table",
    "plane_findings",
    "plane_table",
    "poisoning_rates_table",
    "predict_findings",
    "predicted_coefficients",
    "private_rows",
    "proposition_findings",
    "propositions_table",
    "published_findings",
    "published_table",
    "rank_findings",
    "rank_table",
    "scaling_findings",
    "scaling_table",
    "sides_of_ways",
    "size_findings",
    "stability_finding",
    "state_points",
    "stealth_table",
    "story_table",
    "strayed_findings",
    "strayed_table",
    "student_means",
    "subsets_at_distance",
    "suspect_findings",
    "suspect_table",
    "sweeps_table",
    "task_arithmetic_table",
    "tasks_table",
    "tests_table",
    "transfer_table",
    "usable_variants",
]
