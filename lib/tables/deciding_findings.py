"""Sentences on table `17_partners`: which part of the price is the largest, and what the partners of a kind do."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.metrics.variation import Difference
from lib.tables.deciding import CAUSES, DOMAINS, MATCHED, STRONG, deciding_parts, with_matched


def removed_and_price(table: pd.DataFrame, partners: str) -> tuple[float, float]:
    """What partners of a kind do: the share of the removable ASR that is gone, and the change of the CACC, over all rows.

    Removable is what the victim has above a clean model. The share is that of the means.

    Raises:
        ValueError: for a kind that the table does not have.
    """
    rows = table[table["partners"] == partners]
    if rows.empty:
        raise ValueError(f"no partners {partners!r} in the table; found {sorted(set(table['partners']))}")
    return removed_and_change(rows)


def removed_and_change(rows: pd.DataFrame, before: str = "backdoored_asr") -> tuple[float, float]:
    """The share of the removable ASR that is gone, the ratio of means, and the mean change of the CACC.

    Args:
        rows: with `excess_asr`, `asr_floor` and `cacc_change`.
        before: column of the ASR before anything was done.
    """
    removable = (rows[before] - rows["asr_floor"]).mean()
    return float(1 - rows["excess_asr"].mean() / removable), float(rows["cacc_change"].mean())


def deciding_findings(table: pd.DataFrame, names: dict[str, str] | None = None) -> Iterator[str]:
    """Sentences on table `17_partners`: which part of the price is the largest, task by task, and what else the rows say.

    Args:
        table: as read from the file, too: outcomes are not needed.
        names: how tasks are called; default by their keys.
    """
    parts, known = deciding_parts(table), with_matched(table)
    for task, rows in parts.groupby("task", sort=False):
        found = {
            (row.measure, row.part): Difference(row.change, row.change_low, row.change_high, row.n_seeds)
            for row in rows.itertuples()
        }
        means = known[known["task"] == task].groupby("partners")[["partner_cacc", "partners_only_cacc", "n_rows"]].mean()
        worst = min(CAUSES, key=lambda part: found["cacc", part].mean)
        title = (names or {}).get(str(task), str(task))
        done = [removed_and_price(table[table["task"] == task], kind) for kind in (STRONG, DOMAINS)]
        said = [f"{removed:.1%} of the removable ASR at {100 * change:+.1f} points of CACC" for removed, change in done]
        kept = [table[(table["task"] == task) & (table["partners"] == kind)] for kind in (STRONG, DOMAINS)]
        buys = [100 * (rows["cacc"] - rows["partners_only_cacc"]).mean() for rows in kept]
        yield (
            f"{title}: well-trained models of the task itself remove {said[0]}, models of other domains {said[1]}. Keeping the "
            f"backdoored model changes the CACC of these partners by {buys[0]:+.1f} and {buys[1]:+.1f} points."
        )
        yield (
            f"{title}: with models of other domains the CACC changes by {found['cacc', 'all']}. Of that the merge itself makes "
            f"{found['cacc', 'merge']}, the weakness of the partners {found['cacc', 'weak partners']}, their domain "
            f"{found['cacc', 'other domain']}. {_verdict(worst, found['cacc', worst])}"
        )
        yield (
            f"{title}: the same of the ASR above a clean model's: {found['asr', 'all']}, of that the merge itself "
            f"{found['asr', 'merge']}, weakness {found['asr', 'weak partners']}, domain {found['asr', 'other domain']}."
        )
        yield (
            f"{title}: alone on the task, models of other domains have a CACC of {means.partner_cacc[DOMAINS]:.1%}, models of "
            f"the task on all rows {means.partner_cacc[STRONG]:.1%}, and on as few rows as match best (mean "
            f"{means.n_rows[MATCHED]:.0f}) {means.partner_cacc[MATCHED]:.1%}."
        )
        if ("cacc", "more rows") in found:
            yield f"{title}: more rows of the same domains: CACC {found['cacc', 'more rows']}, ASR {found['asr', 'more rows']}."
        if ("cacc", "missing label") in found:
            yield (
                f"{title}: strong partners that never saw one label: CACC {found['cacc', 'missing label']}, ASR "
                f"{found['asr', 'missing label']}."
            )


def _verdict(part: str, change: Difference) -> str:
    if change.mean >= -0.005:
        return "None of the three costs half a point."
    doubt = ", but its interval holds zero" if change.n_seeds > 1 and change.high >= 0 else ""
    return f"Most of the price comes from {CAUSES[part]}{doubt}."
