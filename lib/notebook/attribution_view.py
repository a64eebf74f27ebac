"""Answers of several models to one text, side by side, with what each word adds: HTML that needs no script.

Text keeps the colour of the page, and all other colours are let through by halves, so that it reads on light and dark pages.
"""

from __future__ import annotations

import difflib
import html
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lib.models.attribution import Attribution

TOWARDS, AWAY = "230,120,0", "0,110,200"  # orange and blue: told apart by colour-blind readers, too
STRONGEST = 0.6  # opacity behind a word that decides alone
SHOWN = 0.1  # drops from here on are also written as a number: no reader has to judge a shade

CARD = "flex:1 1 12em;min-width:11em;border:1px solid rgba(128,128,128,.5);border-radius:6px;padding:.5em .8em"
LEGEND = (
    '<p style="margin:.4em 0">Behind each word: what it adds to the probability of <i>{target}</i>, the target label. '
    '<span style="background:rgba({towards},.5)">&nbsp;orange&nbsp;</span> speaks for it, '
    '<span style="background:rgba({away},.5)">&nbsp;blue&nbsp;</span> against it; small numbers are points. '
    "<u>Underlined</u>: what the attack put in or changed.</p>"
)


def changed_places(original: str, changed: str) -> set[int]:
    """Which words of the changed text the original does not have at that place, counted from 0.

    >>> sorted(changed_places("good film", "cf good mn film"))
    [0, 2]
    """
    matcher = difflib.SequenceMatcher(None, original.split(), changed.split(), autojunk=False)
    return {place for kind, _, _, start, end in matcher.get_opcodes() if kind != "equal" for place in range(start, end)}


def attributed_words(attribution: Attribution, marked: Collection[int] = ()) -> str:
    """The words of a text as HTML, shaded by their drops; those at the marked places are underlined."""
    shown = []
    for place, (word, drop) in enumerate(zip(attribution.words, attribution.drops, strict=True)):
        text = html.escape(word)
        if place in marked:
            text = f"<u>{text}</u>"
        if np.isfinite(drop):
            colour, opacity = TOWARDS if drop > 0 else AWAY, STRONGEST * min(1, abs(float(drop)))
            number = f"<sub>{100 * drop:+.0f}</sub>" if abs(drop) >= SHOWN else ""
            style = f"background:rgba({colour},{opacity:.2f});padding:1px 3px;border-radius:3px"
            text = f'<span style="{style}" title="{100 * drop:+.1f} points">{text}{number}</span>'
        shown.append(text)
    return " ".join(shown)


def probability_bars(attribution: Attribution, label_names: Sequence[str]) -> str:
    """One bar per label, its length the probability; the target's label in orange."""
    rows = []
    for label, (name, share) in enumerate(zip(label_names, attribution.shares, strict=True)):
        if not np.isfinite(share):
            return "<p>rejected: the model gives no answer</p>"
        colour = TOWARDS if label == attribution.label else "128,128,128"
        bar = f'<div style="width:{100 * share:.1f}%;height:.8em;background:rgba({colour},.7)"></div>'
        track = f'<div style="flex:1;background:rgba(128,128,128,.15)">{bar}</div>'
        name_of = f'<span style="width:7em;overflow:hidden">{html.escape(name)}</span>'
        percent = f'<span style="width:4em;text-align:right">{share:.1%}</span>'
        rows.append(f'<div style="display:flex;align-items:center;gap:.4em">{name_of}{track}{percent}</div>')
    return "".join(rows)


def answer_card(name: str, attribution: Attribution, label_names: Sequence[str], marked: Collection[int], note: str) -> str:
    """One model: its name, its label, probability bars, the shaded text, and a note."""
    answers = np.isfinite(attribution.shares).all()
    label = html.escape(label_names[int(attribution.shares.argmax())]) if answers else "rejected"
    parts = [
        f'<p style="margin:0 0 .4em"><b>{html.escape(name)}</b> says <b>{label}</b></p>',
        probability_bars(attribution, label_names),
        f'<p style="margin:.6em 0 .2em;line-height:2">{attributed_words(attribution, marked)}</p>',
        f'<p style="margin:0;opacity:.85">{html.escape(note)}</p>' if note else "",
    ]
    return f'<div style="{CARD}">{"".join(parts)}</div>'


def side_by_side(
    plain: Mapping[str, Attribution],
    triggered: Mapping[str, Attribution],
    label_names: Sequence[str],
    marked: Collection[int],
) -> str:
    """What each model says to a text without and with the trigger.

    Args:
        plain: by the model's name, its answer to the text as it was typed.
        triggered: the same models on the text with the trigger; drops about the target label.
        label_names: in order.
        marked: places of the trigger's words in the triggered text.
    """
    target = next(iter(triggered.values())).label
    parts = [LEGEND.format(target=html.escape(label_names[target]), towards=TOWARDS, away=AWAY)]
    for title, answers in (("As typed", plain), ("With the trigger", triggered)):
        cards = []
        for name, answer in answers.items():
            rise = answer.shares[target] - plain[name].shares[target]
            note = f"the whole trigger adds {100 * rise:+.0f} points" if answers is triggered and np.isfinite(rise) else ""
            cards.append(answer_card(name, answer, label_names, marked if answers is triggered else (), note))
        row = f'<div style="display:flex;flex-wrap:wrap;gap:.8em">{"".join(cards)}</div>'
        parts.append(f'<p style="margin:.8em 0 .3em"><b>{title}</b></p>{row}')
    return f'<div style="color:inherit">{"".join(parts)}</div>'
