"""Sliders and menus for the last cells of the notebooks: thin wrappers that run once, harmlessly, when executed headlessly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from lib.models import Checkpoint
from lib.study import Study


def explore_merge(
    study: Study, task: str, attack: str, backdoored: Checkpoint, others: Sequence[Checkpoint], sentence: str, seed: int = 0
) -> None:
    """A slider for the backdoored model's share of the average: merges, scores and predicts on the fly."""

    def merge_and_show(share: float, text: str) -> None:
        weights = [share, *[(1 - share) / len(others)] * len(others)]
        merged = study.merge([backdoored, *others], weights=weights)
        score = study.score(merged, task, attack, seed)
        display(study.predict(merged, [text, *study.apply_trigger(task, attack, [text], seed)]))
        print(f"clean accuracy {score.cacc:.1%}, attack success rate {score.asr:.1%}")

    share = ipywidgets.FloatSlider(value=round(1 / (1 + len(others)), 2), min=0, max=1, step=0.05, description="share")
    share.continuous_update = False  # score when the slider is let go
    text = ipywidgets.Text(value=sentence, description="sentence", continuous_update=False, layout={"width": "80%"})
    _show(merge_and_show, share=share, text=text)


def explore_attacks(plot: Callable[[pd.DataFrame], Figure], table: pd.DataFrame) -> None:
    """A menu of the table's attacks over the same figure as above: stored rows only, so it answers at once."""
    _explore_column(plot, table, "attack", ["all", *dict.fromkeys(table["attack"])])


def explore_tasks(plot: Callable[[pd.DataFrame], Figure], table: pd.DataFrame) -> None:
    """A menu of the table's tasks over the same figure as above."""
    _explore_column(plot, table, "task", list(dict.fromkeys(table["task"])))


def _explore_column(plot: Callable[[pd.DataFrame], Figure], table: pd.DataFrame, column: str, options: list[str]) -> None:
    def draw(value: str) -> None:
        figure = plot(table if value == "all" else table[table[column] == value])
        display(figure)
        plt.close(figure)

    _show(draw, value=ipywidgets.Dropdown(options=options, description=column))


def _show(function: Callable[..., None], **controls: ipywidgets.Widget) -> None:
    output = ipywidgets.interactive_output(function, controls)
    display(ipywidgets.VBox([*controls.values(), output]))
