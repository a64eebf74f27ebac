"""Which rows a seed draws: every seed, and every partner on the same task, has rows of its own as far as there are enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

# A seed has two parts: seed % STEP names the case (a victim, its test texts), seed // STEP its partner on the same task, 0 the
# victim itself.
SAME_TASK_SEED_STEP = 1000
N_CASES = 9  # cases that stand side by side, with their partners
MOST_TURNS = 500  # every case below 1,000 has a place
DEALING_SEED = 0  # one order of dealing for all seeds, or their rows would overlap


def n_alike(n_partners: int) -> int:
    """How many draws stand side by side."""
    return N_CASES * (1 + n_partners)


def draw_number(seed: int, n_partners: int) -> int:
    """The place of a seed's draw: another for every seed, low for the seeds of a study.

    Cases 0 to 8 have the first places, each beside its partners; other seeds follow in turns as large as that.

    Args:
        seed: case + `SAME_TASK_SEED_STEP` x partner.
        n_partners: partners of a case that draw from the same rows, as those on a task do; 0 where none is expected.

    Raises:
        ValueError: for a negative seed, or one beyond the last place.

    >>> [draw_number(seed, 4) for seed in (0, 1000, 4000, 1, 1001, 8, 9, 5000)]
    [0, 1, 4, 5, 6, 40, 90, 45]
    >>> [draw_number(seed, 0) for seed in (0, 1, 8, 9, 1000)]
    [0, 1, 8, 18, 9]
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    case, partner = seed % SAME_TASK_SEED_STEP, seed // SAME_TASK_SEED_STEP
    width = 1 + n_partners
    further_case, further_partner = case // N_CASES, partner // width
    # One number of two: every positive integer is a power of two times an odd number, in one way.
    turn = 2 ** min(further_partner, MOST_TURNS) * (2 * further_case + 1) - 1
    if turn >= MOST_TURNS:
        raise ValueError(
            f"seed {seed} is case {case} with partner {partner}, for which no rows are set aside; "
            f"for case 0 partners go to {9 * width - 1}, for higher ones less far"
        )
    return turn * n_alike(n_partners) + (case % N_CASES) * width + partner % width


def dealt_sample(frame: pd.DataFrame, n: int, draw: int) -> pd.DataFrame:
    """The `n` rows that one of many draws is dealt, with the label shares of the whole, in shuffled order.

    Rows are dealt like cards, each label from a deck of its own: every row is dealt once before any is dealt twice, and no draw
    gets a row twice. So the first draws are disjoint as long as there are enough rows, and the first two share no more than
    they must. Every further deck is shuffled anew: draws of different decks share what chance gives.

    Args:
        frame: rows with a `label`.
        n: rows per draw; 0 or at least the size: every draw has all rows.
        draw: number of the draw, as from `draw_number`.

    Raises:
        ValueError: if n is negative.
    """
    if n < 0:
        raise ValueError(f"cannot draw {n} rows; give 0 for all or a positive number")
    rng = np.random.default_rng([draw, DEALING_SEED])
    if n == 0 or n >= len(frame):
        return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    labels = frame["label"].to_numpy()
    known = np.unique(labels)
    decks = [np.flatnonzero(labels == label) for label in known]
    counts = counts_of([len(deck) / len(labels) for deck in decks], n)
    hands = [deck[_hand(k, len(deck), draw, int(label))] for deck, k, label in zip(decks, counts, known, strict=True)]
    return frame.iloc[rng.permutation(np.concatenate(hands))].reset_index(drop=True)


def part_of(frame: pd.DataFrame, n: int = 0, without_label: int = -1) -> pd.DataFrame:
    """Some rows of a draw, so that a part is as disjoint from other draws as the whole.

    Args:
        frame: rows with a `label`.
        n: rows to keep, with the label shares of the whole; 0: all.
        without_label: a label whose rows are left out first; -1: none.

    Raises:
        ValueError: for more rows than there are, or a label that no row has.

    >>> rows = pd.DataFrame({"text": list("abcdef"), "label": [0, 0, 0, 0, 1, 1]})
    >>> sorted(part_of(rows, 3)["label"]), sorted(part_of(rows, without_label=1)["text"])
    ([0, 0, 1], ['a', 'b', 'c', 'd'])
    """
    if without_label >= 0:
        if without_label not in set(frame["label"]):
            raise ValueError(f"no row has the label {without_label}; found {sorted(set(frame['label']))}")
        frame = frame[frame["label"] != without_label].reset_index(drop=True)
    if n < 0 or n > len(frame):
        raise ValueError(f"cannot keep {n} of {len(frame)} rows; give 0 for all, or at most {len(frame)}")
    return dealt_sample(frame, n, 0) if n else frame


def _hand(n: int, n_rows: int, draw: int, label: int) -> np.ndarray:
    """The cards of one draw: all draws before it are dealt first."""
    rng = np.random.default_rng([DEALING_SEED, label])
    hand = deck = np.zeros(0, dtype=int)
    for _ in range(draw + 1):
        hand, deck = deck[:n], deck[n:]
        if len(hand) < n:
            fresh = rng.permutation(n_rows)
            is_held = np.isin(fresh, hand)
            missing = n - len(hand)
            # What was in the hand while the new deck was shuffled lies at its bottom.
            deck = np.concatenate([fresh[~is_held][missing:], fresh[is_held]])
            hand = np.concatenate([hand, fresh[~is_held][:missing]])
    return hand


def counts_of(shares: Sequence[float] | np.ndarray, n: int) -> np.ndarray:
    """Whole numbers that add up to `n` in shares that add up to 1, by largest remainders: each within one of its exact share.

    >>> counts_of([0.5, 0.3, 0.2], 9).tolist()
    [4, 3, 2]
    """
    exact = np.asarray(shares) * n
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts
