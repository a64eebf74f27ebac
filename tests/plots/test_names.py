"""Names beside marks: where there is room, at a distance where there is little, none where there is none."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text

from lib.plots.names import name_marks


@pytest.fixture
def axis():
    figure, axis = plt.subplots(figsize=(4, 3))
    axis.set(xlim=(0, 1), ylim=(0, 1))
    yield axis
    plt.close(figure)


def boxes(axis):
    return [Text.get_window_extent(text, axis.figure.canvas.get_renderer()) for text in axis.texts]


def test_a_name_stands_above_and_to_the_right_of_a_lonely_mark(axis):
    assert name_marks(axis, {"ABL": (0.5, 0.5)}, [(0.5, 0.5)]) == ["ABL"]
    assert axis.texts[0].xyann == (5, 3) and axis.texts[0].arrow_patch is None


def test_names_of_marks_that_crowd_cover_neither_each_other_nor_a_mark(axis):
    marks = {"ABL": (0.50, 0.5), "CUBE": (0.51, 0.5), "GMS": (0.52, 0.5), "PURE": (0.50, 0.51)}
    assert name_marks(axis, marks, list(marks.values())) == list(marks)
    found = boxes(axis)
    assert not any(a.overlaps(b) for place, a in enumerate(found) for b in found[place + 1 :])
    places = axis.transData.transform(list(marks.values()))
    assert not any(box.contains(*place) for box in found for place in places)


def test_a_line_leads_to_a_name_that_stands_apart(axis):
    crowd = [(0.5 + dx / 40, 0.5 + dy / 40) for dx in range(-4, 5) for dy in range(-1, 2)]
    assert name_marks(axis, {"ABL": (0.5, 0.5)}, crowd) == ["ABL"]
    assert axis.texts[0].arrow_patch is not None


def test_a_name_that_finds_no_place_is_left_out(axis):
    crowd = [(x / 30, y / 30) for x in range(31) for y in range(31)]
    assert name_marks(axis, {"a long name": (0.5, 0.5)}, crowd) == [] and not axis.texts
