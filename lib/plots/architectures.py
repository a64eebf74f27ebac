"""Figures of notebook 11: before and after the merge for every pretrained model, and averages of models with other heads."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from lib.plots.before_after import plot_before_after
from lib.plots.steps import plot_lines
from lib.plots.style import UNKNOWN, Subject, colours_of


def plot_architectures(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `11_architectures`: every pretrained model before and after the average with models of other domains.

    A pretrained model that was trained by several recipes has a line for each.
    """
    has_several = table.groupby("architecture")["recipe"].transform("nunique") > 1
    line = table["architecture"].where(~has_several, table["architecture"] + ", " + table["recipe"] + " recipe")
    title = "Before and after the average, for every pretrained model"
    return plot_before_after(table.assign(line=line), "line", title, replace(subject, model=""), ("asr", "cacc_change"))


def plot_heads(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `11_heads`: partners with the backdoored model's head or with their own, against the number of models."""
    colours = colours_of(table["heads"])
    names = {"shared": "all start from one head", "own": "each partner starts from its own"}
    title = "Averages of models with one head or with several"
    return plot_lines(table, "n_models", "heads", colours, names, "models in the average", title, subject)
