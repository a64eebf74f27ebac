"""Tables of notebook 13: why merging works, where the backdoor lies, and what can be promised."""

from lib.tables.why.assumptions import assumptions_of_merging
from lib.tables.why.certificates import certificates_table
from lib.tables.why.findings import (
    certificate_findings,
    domains_findings,
    hidden_findings,
    kept_findings,
    margin_findings,
    module_findings,
    predict_findings,
    proposition_findings,
    rank_findings,
)
from lib.tables.why.hidden import hidden_table, state_points
from lib.tables.why.kept import collapse_table
from lib.tables.why.margins import example_leads, margins_table, sides_of_ways
from lib.tables.why.modules import modules_table
from lib.tables.why.picture import Picture, picture_table
from lib.tables.why.predict import predicted_coefficients
from lib.tables.why.propositions import propositions_table
from lib.tables.why.rank import rank_table

__all__ = [
    "Picture",
    "assumptions_of_merging",
    "certificate_findings",
    "certificates_table",
    "collapse_table",
    "domains_findings",
    "example_leads",
    "hidden_findings",
    "hidden_table",
    "kept_findings",
    "margin_findings",
    "margins_table",
    "module_findings",
    "modules_table",
    "picture_table",
    "predict_findings",
    "predicted_coefficients",
    "proposition_findings",
    "propositions_table",
    "rank_findings",
    "rank_table",
    "sides_of_ways",
    "state_points",
]
