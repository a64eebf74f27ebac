"""Sliders and menus for the last cells of the notebooks: the result is drawn once, and again whenever a control moves.

Results are shown through display handles, not `ipywidgets.Output`: executed headlessly, a notebook with output widgets was
seen to wait for ever for a reply of its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from lib.models.checkpoints import Checkpoint
from lib.notebook.display import mark_changes
from lib.plots.style import UNKNOWN, Subject, attack_title
from lib.study.study import Study

Plot = Callable[[pd.DataFrame, Subject], Figure]
ALL = "all"


def explore_merge(
    study: Study, task: str, attack: str, backdoored: Checkpoint, others: Sequence[Checkpoint], sentence: str, seed: int = 0
) -> None:
    """A slider for the backdoored model's share of the average: merges, scores and predicts on the fly."""

    def merge_and_score(share: float, text: str) -> HTML:
        weights = [share, *[(1 - share) / len(others)] * len(others)]
        merged = study.merge([backdoored, *others], weights=weights)
        score = study.score(merged, task, attack, seed)
        predictions = study.predict(merged, [text, *study.apply_trigger(task, attack, [text], seed)])
        rates = f"clean accuracy {score.cacc:.1%}, attack success rate {score.asr:.1%}"
        return HTML(f"<p>{rates}</p>{predictions.to_html(index=False, float_format='{:.3f}'.format)}")

    share = ipywidgets.FloatSlider(value=round(1 / (1 + len(others)), 2), min=0, max=1, step=0.05, description="share")
    share.continuous_update = False  # score when the slider is let go
    text = ipywidgets.Text(value=sentence, description="sentence", continuous_update=False, layout={"width": "80%"})
    _show(merge_and_score, share=share, text=text)


def explore_triggers(study: Study, task: str, attacks: Sequence[str], sentence: str, seed: int = 0) -> None:
    """A text field: what each attack makes of the sentence, changes marked."""

    def apply(text: str) -> HTML:
        rows = {attack: mark_changes(text, study.apply_trigger(task, attack, [text], seed)[0]) for attack in attacks}
        lines = "".join(f"<tr><td>{attack_title(attack)}</td><td>{marked}</td></tr>" for attack, marked in rows.items())
        return HTML(f"<table>{lines}</table>")

    text = ipywidgets.Text(value=sentence, description="sentence", continuous_update=False, layout={"width": "80%"})
    _show(apply, text=text)


def explore_attacks(plot: Plot, table: pd.DataFrame, subject: Subject = UNKNOWN) -> None:
    """A menu of the table's attacks over the figure above, first one first: stored rows only, so it answers at once."""
    _explore_column(plot, table, subject, "attack", attack_title)


def explore_tasks(plot: Plot, table: pd.DataFrame, subject: Subject = UNKNOWN) -> None:
    """A menu of the table's tasks over the same figure as above."""
    _explore_column(plot, table, subject, "task", subject.task, has_all=False)


def explore_methods(plot: Plot, table: pd.DataFrame, subject: Subject = UNKNOWN) -> None:
    """A menu of the table's merge methods over the same figure as above."""
    _explore_column(plot, table, subject, "merge_method", lambda name: name.replace("_", " "))


def explore_architectures(plot: Plot, table: pd.DataFrame, subject: Subject = UNKNOWN) -> None:
    """A menu of the table's pretrained models over the same figure as above."""
    _explore_column(plot, table, subject, "architecture", str)


def _explore_column(
    plot: Plot, table: pd.DataFrame, subject: Subject, column: str, title: Callable[[str], str], has_all: bool = True
) -> None:
    """A menu of the values of a column, under the names that the figure has for them."""

    def draw(value: str) -> Figure:
        figure = plot(table if value == ALL else table[table[column] == value], subject)
        plt.close(figure)  # shown by its handle only, and not kept in memory
        return figure

    options = [(title(str(value)), value) for value in dict.fromkeys(table[column])]
    _show(draw, value=ipywidgets.Dropdown(options=[*options, (ALL, ALL)] if has_all else options, description=column))


def _show(draw: Callable[..., Any], **controls: ipywidgets.Widget) -> None:
    """Show the controls and, below them, `draw(**values)`; a moved control replaces what is shown."""

    def current() -> Any:
        return draw(**{name: control.value for name, control in controls.items()})

    display(ipywidgets.VBox(list(controls.values())))
    shown = display(current(), display_id=True)
    for control in controls.values():
        control.observe(lambda _: shown.update(current()), names="value")
