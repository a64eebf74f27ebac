"""Datasets as frames of text and label: the registry of the real ones, Pocket English, and one loader for all."""

from lib.datasets.load import SPLITS, Task, data_fingerprint, domains_of, format_texts, load_task, stratified_sample, task_of
from lib.datasets.reading import normalise
from lib.datasets.registry import DATASETS, TASKS, DatasetSpec, get_spec, other_domains

__all__ = [
    "DATASETS",
    "SPLITS",
    "TASKS",
    "DatasetSpec",
    "Task",
    "data_fingerprint",
    "domains_of",
    "format_texts",
    "get_spec",
    "load_task",
    "normalise",
    "other_domains",
    "stratified_sample",
    "task_of",
]
