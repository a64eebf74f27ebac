"""Columns of the tables on partners: of notebook 17, and of table `04_partners`."""

from lib.metrics.column_kinds import columns

COLUMNS_OF_PARTNERS = {
    **columns(
        "rate",
        partner_cacc="CACC on the task of the partners alone, mean over them",
        partner_validation_cacc="the same on clean validation texts",
        weakest_partner_cacc="CACC on the task of the worst partner alone",
        overlap_victim="share of a backdoored model's training rows that a partner has, too",
    ),
    **columns("change", change="difference of a rate between two kinds of partners, mean over attacks and seeds"),
    **columns("count", n_rows="training rows that a kind of partners is given, at most"),
    **columns("name", part="what a change is due to", lacks_label="label names that a partner never saw"),
}
