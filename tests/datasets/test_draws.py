"""Which rows a seed draws: places for seeds, cards that are dealt, and label shares."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from lib.datasets import dealt_sample, draw_number
from lib.datasets.draws import MOST_TURNS, N_CASES, n_alike

# --- places ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_partners", [0, 1, 4])
def test_every_seed_has_a_place_of_its_own(n_partners):
    seeds = [case + 1000 * partner for case in range(1000) for partner in range(1 + n_partners)]
    seeds += [case + 1000 * partner for case in range(20) for partner in range(1, 6)]
    assert len({draw_number(seed, n_partners) for seed in seeds}) == len(set(seeds))


def test_the_seeds_of_a_study_have_the_first_places():
    for n_partners in (0, 2, 4):
        seeds = [case + 1000 * partner for case in range(N_CASES) for partner in range(1 + n_partners)]
        assert [draw_number(seed, n_partners) for seed in seeds] == list(range(len(seeds)))


def test_seeds_without_a_place_are_refused():
    with pytest.raises(ValueError, match="seed is -1; it must be 0 or more"):
        draw_number(-1, 0)
    with pytest.raises(ValueError, match="seed 60007 is case 7 with partner 60, for which no rows are set aside"):
        draw_number(60_007, 4)
    assert draw_number(44_000, 4) < MOST_TURNS * n_alike(4)
    with pytest.raises(ValueError, match="for case 0 partners go to 44, for higher ones less far"):
        draw_number(45_000, 4)


# --- cards -------------------------------------------------------------------------------------------------------------------


def hands(n_rows, n, n_draws):
    frame = pd.DataFrame({"text": range(n_rows), "label": 0})
    return [set(dealt_sample(frame, n, draw)["text"]) for draw in range(n_draws)]


@pytest.mark.parametrize(("n_rows", "n"), [(100, 20), (100, 30), (100, 60), (100, 99), (7, 3), (30, 10)])
def test_every_row_is_dealt_once_before_any_is_dealt_twice(n_rows, n):
    drawn, used = hands(n_rows, n, 12), np.zeros(n_rows, dtype=int)
    for hand in drawn:
        assert len(hand) == n
        used[list(hand)] += 1
        assert used.max() - used.min() <= (1 if n_rows % n == 0 else 2)  # a draw may reach into the next deck
    first = drawn[: n_rows // n]
    assert not any(one & other for one, other in combinations(first, 2))
    assert len(drawn[0] & drawn[1]) == max(0, 2 * n - n_rows)


def test_decks_are_shuffled_anew_so_that_later_draws_are_no_copies():
    drawn = hands(100, 50, 8)
    assert all(15 <= len(one & other) <= 35 or not one & other for one, other in combinations(drawn, 2))


def test_every_draw_has_the_label_shares_of_the_whole():
    frame = rows(70, 20, 10)
    for draw in range(12):
        sample = dealt_sample(frame, 30, draw)
        assert np.bincount(sample["label"]).tolist() == [21, 6, 3]
        assert sample["text"].is_unique


# --- samples -----------------------------------------------------------------------------------------------------------------


def rows(*n_per_label):
    labels = np.repeat(np.arange(len(n_per_label)), n_per_label)
    return pd.DataFrame({"text": [f"t{i}" for i in range(len(labels))], "label": labels})


@pytest.mark.parametrize(
    ("n_per_label", "n", "expected"),
    [((60, 40), 10, [6, 4]), ((50, 30, 20), 9, [4, 3, 2]), ((5, 5, 5, 5), 6, [2, 2, 1, 1]), ((97, 3), 10, [10, 0])],
)
def test_a_sample_has_the_label_shares_of_the_whole(n_per_label, n, expected):
    # Largest remainders, by hand: 9 of (50, 30, 20) is 4.5, 2.7, 1.8: the odd two go to .8 and .7.
    sample = dealt_sample(rows(*n_per_label), n, draw=0)
    assert np.bincount(sample["label"], minlength=len(n_per_label)).tolist() == expected
    assert sample["text"].is_unique
    assert sample.index.tolist() == list(range(n))


def test_a_sample_is_determined_by_its_draw_and_shuffled():
    frame = rows(50, 50)
    first, again, other = (dealt_sample(frame, 40, draw) for draw in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["text"]) != set(other["text"])
    assert first["label"].tolist() != sorted(first["label"])


@pytest.mark.parametrize("n", [0, 100, 101, 5000])
def test_a_sample_of_all_rows_is_a_permutation(n):
    frame = rows(60, 40)
    sample = dealt_sample(frame, n, draw=0)
    assert sample["text"].tolist() != frame["text"].tolist()
    pd.testing.assert_frame_equal(sample.sort_values("text", ignore_index=True), frame.sort_values("text", ignore_index=True))


def test_a_sample_does_not_modify_the_frame_and_keeps_its_columns():
    frame = rows(6, 4).assign(text_pair="x")
    sample = dealt_sample(frame, 5, draw=0)
    pd.testing.assert_frame_equal(frame, rows(6, 4).assign(text_pair="x"))
    assert list(sample) == list(frame)


def test_a_negative_sample_raises():
    with pytest.raises(ValueError, match="cannot draw -1 rows; give 0 for all"):
        dealt_sample(rows(2, 2), -1, draw=0)
