"""Sliders and menus for the last cells of the notebooks: the result is drawn once, and again whenever a control moves.

Results are shown through display handles, not `ipywidgets.Output`: executed headlessly, a notebook with output widgets was
seen to wait for ever for a reply of its kernel.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from lib.models.checkpoints import Checkpoint
from lib.notebook.display import mark_changes, texts_table
from lib.notebook.mixer_view import Point, mixer_html
from lib.notebook.mixing import KNOBS, MIXABLE, Mixer
from lib.notebook.playground import example_text, playground_html
from lib.plots import plot_triangle
from lib.plots.style import UNKNOWN, Subject, attack_title
from lib.study import chosen_attacks
from lib.study.store import MissingRunsError
from lib.study.study import Study
from lib.tables import Picture

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


def explore_playground(study: Study, task: str, attack: str, sentence: str, seed: int = 0) -> None:
    """A text field, menus of tasks and attacks: the clean, the backdoored and the merged model side by side, word by word.

    A choice whose models nobody has trained yet trains them. Choosing a task puts one of its test texts into the field.
    """

    @lru_cache(maxsize=64)  # a chosen task sets three controls, and each of them asks for a view
    def view(task: str, attack: str, text: str, text_pair: str) -> HTML:
        return HTML(playground_html(study, task, attack, text, text_pair, seed))

    tasks = list(dict.fromkeys([task, *study.profile.tasks]))
    attacks = list(dict.fromkeys([attack, *chosen_attacks("all")]))
    wide = {"width": "80%"}
    controls = {
        "task": ipywidgets.Dropdown(options=tasks, value=task, description="task"),
        "attack": ipywidgets.Dropdown(options=attacks, value=attack, description="attack"),
        "text": ipywidgets.Text(value=sentence, description="sentence", continuous_update=False, layout=wide),
        "text_pair": ipywidgets.Text(
            value=example_text(study, task, seed)[1], description="second", continuous_update=False, layout=wide
        ),
    }

    def show_pair() -> None:
        controls["text_pair"].layout.display = None if controls["text_pair"].value else "none"

    def take_example(_: Any) -> None:
        controls["text"].value, controls["text_pair"].value = example_text(study, controls["task"].value, seed)
        show_pair()

    show_pair()
    controls["task"].observe(take_example, names="value")
    _show(view, **controls)


def explore_mixer(study: Study, task: str, attack: str, seed: int = 0) -> None:
    """A slider per model and a menu of merge methods: every move merges and scores, and the point walks through the plane.

    A method without weights greys the sliders out: then only the ticks count, a model takes part or does not.
    """
    mixer = Mixer(study, task, attack, seed)
    names, trail = list(mixer.models), list[Point]()
    ticks = [ipywidgets.Checkbox(value=True, description="in", indent=False, layout={"width": "4em"}) for _ in names]
    sliders = [_slider(name, 0, 1, 0.05, 0.5) for name in names]
    knobs = {name: _slider(name, knob.low, knob.high, knob.step, knob.value, knob.is_count) for name, knob in KNOBS.items()}
    menu = ipywidgets.Dropdown(options=list(MIXABLE), description="method")

    def follow_method(_: Any = None) -> None:
        for slider in sliders:
            slider.disabled = not MIXABLE[menu.value].has_weights
        for name, knob in knobs.items():
            knob.layout.display = None if name in MIXABLE[menu.value].knobs else "none"

    def draw(method: str, **_: Any) -> HTML:
        has_weights = MIXABLE[method].has_weights
        amounts = [tick.value * (slider.value if has_weights else 1.0) for tick, slider in zip(ticks, sliders, strict=True)]
        mix = mixer.mix(method, amounts, {name: knobs[name].value for name in MIXABLE[method].knobs})
        here, alone, clean = ((score.asr, score.cacc) for score in (mix.score, mixer.alone, mixer.clean))
        shown = mixer_html(names, mix.weights, (here, alone, clean), mixer.lowest_cacc, trail[-40:])
        trail.append(here)
        return HTML(shown)

    follow_method()
    menu.observe(follow_method, names="value")
    rows = [ipywidgets.HBox([tick, slider]) for tick, slider in zip(ticks, sliders, strict=True)]
    moved = {f"{kind}_{i}": each for kind, many in (("tick", ticks), ("slider", sliders)) for i, each in enumerate(many)}
    _show(draw, box=ipywidgets.VBox([menu, *rows, *knobs.values()]), method=menu, **moved, **knobs)


def _slider(name: str, low: float, high: float, step: float, value: float, is_count: bool = False) -> ipywidgets.Widget:
    kind = ipywidgets.IntSlider if is_count else ipywidgets.FloatSlider
    style = {"description_width": "9em"}
    layout = {"width": "28em"}
    limits = {"min": low, "max": high, "step": step, "value": value}
    return kind(**limits, description=name, continuous_update=False, style=style, layout=layout)


def explore_triggers(study: Study, task: str, attacks: Sequence[str], sentence: str, seed: int = 0) -> None:
    """A text field: what each attack makes of the sentence, changes marked."""

    def apply(text: str) -> HTML:
        changed = [mark_changes(text, study.apply_trigger(task, attack, [text], seed)[0]) for attack in attacks]
        return texts_table([[attack_title(attack), marked] for attack, marked in zip(attacks, changed, strict=True)])

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


def explore_plane(table: pd.DataFrame, subject: Subject = UNKNOWN) -> None:
    """Sliders that walk through the plane of a backdoored model, its partners and its twin: the cross moves, nothing is merged.

    Rates and loss are read off the stored grid, so a move is answered at once. The weight that is left is the backdoored
    model's.
    """
    picture = Picture(table)

    def walk(partners: float, twin: float) -> Figure:
        weight = 1 - partners - twin
        here = picture.at(weight, partners)
        said = f"ASR {here['asr']:.0%}, CACC {here['cacc']:.0%} at a weight of {weight:.2f}"
        figure = plot_triangle(table, subject, (here["x"], here["y"]), said)
        plt.close(figure)
        return figure

    _show(walk, partners=_slider("partners", 0, 1, 0.05, 0.8), twin=_slider("clean twin", 0, 1, 0.05, 0.0))


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


def _show(draw: Callable[..., Any], box: ipywidgets.Widget | None = None, **controls: ipywidgets.Widget) -> None:
    """Show the controls (or the box that holds them) and, below, `draw(**values)`; a moved control replaces what is shown.

    What a user may do wrong is said in place of the result: an error in a callback would end in a log that nobody reads. The
    first result is the notebook's own, and its errors stop the notebook.
    """

    def current() -> Any:
        return draw(**{name: control.value for name, control in controls.items()})

    def moved(_: Any) -> None:
        try:
            shown.update(current())
        except (ValueError, MissingRunsError) as error:
            shown.update(HTML(f"<p>{html.escape(str(error))}</p>"))

    display(box or ipywidgets.VBox(list(controls.values())))
    shown = display(current(), display_id=True)
    for control in controls.values():
        control.observe(moved, names="value")
