"""Columns of the tables of notebook 17."""

from lib.metrics.column_kinds import columns

COLUMNS_OF_PARTNERS = {
    **columns(
        "rate",
        partner_cacc="CACC on the task of the partners alone, mean over them",
        partner_validation_cacc="the same on clean validation texts",
        weakest_partner_cacc="CACC on the task of the worst partner alone",
    ),
    **columns("change", change="difference of a rate between two kinds of partners, mean over attacks and seeds"),
    **columns("count", n_rows="training rows that a kind of partners is given, at most"),
    **columns("name", part="what a change is due to"),
}
