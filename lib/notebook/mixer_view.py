"""The mixer's plane of ASR and CACC as SVG, and its weights as a table: text in the colour of the page, no script needed."""

from __future__ import annotations

import html
from collections.abc import Sequence

Point = tuple[float, float]  # ASR and CACC, fractions in [0, 1]

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 46
MERGE = "rgb(213,94,0)"


def place(point: Point, lowest: float) -> tuple[float, float]:
    """Where a point stands in the drawing: ASR to the right, CACC from `lowest` upwards; lower ones stand on the edge."""
    asr, cacc = point
    height = (max(cacc, lowest) - lowest) / (1 - lowest)
    return LEFT + asr * (WIDTH - LEFT - RIGHT), TOP + (1 - height) * (HEIGHT - TOP - BOTTOM)


def plane_svg(merge: Point, backdoored: Point, clean: Point, lowest: float, trail: Sequence[Point] = ()) -> str:
    """The merge as a full dot, the backdoored model hollow, the clean one as a bar; the floor dotted, earlier merges pale.

    Args:
        merge, backdoored, clean: ASR and CACC of each model.
        lowest: the CACC at the lower edge.
        trail: earlier merges.
    """
    parts = [_axes(lowest)]
    (x, y), (floor, _) = place(clean, lowest), place((clean[0], 1), lowest)
    parts.append(
        f'<line x1="{floor:.1f}" x2="{floor:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="currentColor" '
        f'stroke-dasharray="2 4" opacity=".6"/><text x="{floor + 4:.1f}" y="{TOP + 9}" opacity=".8">floor</text>'
    )
    parts.append(f'<rect x="{x - 9:.1f}" y="{y - 2:.1f}" width="18" height="4" fill="gray"><title>clean model</title></rect>')
    x, y = place(backdoored, lowest)
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="{MERGE}" stroke-width="2">'
    parts.append(f"{ring}<title>backdoored model alone</title></circle>")
    for point in trail:
        x, y = place(point, lowest)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{MERGE}" opacity=".3"/>')
    x, y = place(merge, lowest)
    dot = f'<circle class="mixer-point" cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{MERGE}">'
    parts.append(f"{dot}<title>the merge</title></circle>")
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" style="width:100%;max-width:{WIDTH}px;font:12px sans-serif"'
    name = "The merge in the plane of attack success rate and clean accuracy"
    return f'<svg {size} fill="currentColor" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def _axes(lowest: float) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor" opacity=".7"/>']
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):  # CACC from 50 or 25 per cent in round numbers, too
        x, y = place((share, lowest + share * (1 - lowest)), lowest)
        parts.append(f'<text x="{x:.0f}" y="{bottom + 16}" text-anchor="middle">{100 * share:.0f}</text>')
        cacc = 100 * (lowest + share * (1 - lowest))
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{cacc:.0f}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">attack success rate, %</text>')
    turned = f'transform="rotate(-90 16 {middle})"'
    parts.append(f'<text x="16" y="{middle}" text-anchor="middle" {turned}>clean accuracy, %</text>')
    return "".join(parts)


def rates_line(merge: Point, clean: Point) -> str:
    """ASR beside the floor, CACC beside that of a clean model."""
    (asr, cacc), (floor, clean_cacc) = merge, clean
    return f"ASR <b>{asr:.1%}</b> (floor {floor:.1%}), CACC <b>{cacc:.1%}</b> (clean model {clean_cacc:.1%})"


def weights_table(names: Sequence[str], weights: Sequence[float | None]) -> str:
    """The weight of each model; None where the method has no weights and the model takes part."""
    rows = []
    for name, weight in zip(names, weights, strict=True):
        shown = "takes part" if weight is None else f"{weight:.3f}" if weight else "left out"
        named = f'<td style="text-align:left;padding-right:1em">{html.escape(name)}</td>'
        rows.append(f'<tr>{named}<td style="text-align:right">{shown}</td></tr>')
    return f"<table>{''.join(rows)}</table>"


def mixer_html(
    names: Sequence[str],
    weights: Sequence[float | None],
    points: tuple[Point, Point, Point],
    lowest: float,
    trail: Sequence[Point] = (),
) -> str:
    """The whole view: rates, weights and plane.

    Args:
        names, weights: of the models; see `weights_table`.
        points: of the merge, the backdoored model and the clean model.
        lowest, trail: see `plane_svg`.
    """
    merge, _, clean = points
    line = f'<p class="mixer-rates" style="margin:.3em 0">{rates_line(merge, clean)}</p>'
    legend = "full: the merge; ring: the backdoored model alone; bar: a clean model. Best is the upper left."
    plane = f'<div style="flex:1 1 20em">{plane_svg(*points, lowest, trail)}<p style="margin:0">{legend}</p></div>'
    body = f'<div style="display:flex;flex-wrap:wrap;gap:1em"><div>{weights_table(names, weights)}</div>{plane}</div>'
    return f"<div>{line}{body}</div>"
