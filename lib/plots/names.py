"""Names beside marks that stand close together: none over another name, none over a mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

HALO = [withStroke(linewidth=2, foreground="white")]  # names stay readable over lines
SIDES = ((1, 1, "left", "bottom"), (1, -1, "left", "top"), (-1, 1, "right", "bottom"), (-1, -1, "right", "top"))
# Where a name may stand: points beside and above its mark, and the side and edge of the name that lie there. The nearest first.
PLACES = [
    (beside * across, above * up, side, edge)
    for across, up in ((5, 3), (9, 13), (18, 22), (28, 32))
    for beside, above, side, edge in SIDES
]
LED = 10  # points above or below a mark from which on a line leads to the name
LINE = {"arrowstyle": "-", "color": "0.45", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
RADIUS = 3.5  # of a mark, in points
POINTS_PER_INCH = 72


def name_marks(axis: Axes, names: Mapping[str, tuple[float, float]], marks: Sequence[tuple[float, float]]) -> list[str]:
    """Write names beside their marks, each at the first of `PLACES` where it covers nothing; a line leads to distant ones.

    To be called when the layout of the figure is final, for it looks at the places on the page.

    Args:
        axis: gets the names.
        names: the place of each name's mark, in data units; the first has the first choice.
        marks: all marks of the axis, in data units, which no name may cover.

    Returns:
        The names that found a place, in order.
    """
    figure = axis.get_figure(root=True)
    renderer = figure.canvas.get_renderer()  # type: ignore[union-attr, attr-defined]
    radius = RADIUS * figure.dpi / POINTS_PER_INCH  # type: ignore[union-attr]
    taken = [
        Bbox.from_extents(x - radius, y - radius, x + radius, y + radius) for x, y in axis.transData.transform(list(marks))
    ]
    written = []
    for name, place in names.items():
        for right, above, side, edge in PLACES:
            offset: dict[str, Any] = {"xytext": (right, above), "textcoords": "offset points", "ha": side, "va": edge}
            line = LINE if abs(above) > LED else None
            text = axis.annotate(name, place, fontsize=7, path_effects=HALO, zorder=5, arrowprops=line, **offset)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # of the name, without its line
            inside = axis.bbox.x0 <= box.x0 and box.x1 <= axis.bbox.x1 and axis.bbox.y0 <= box.y0 and box.y1 <= axis.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                written.append(name)
                break
            text.remove()
    return written
