"""Datasets as frames of text and label: the registry of the real ones, Pocket English, and one loader for all.

May import: `folders`, `paths`.
"""

from lib.datasets.known import distance_of, domains_of, get_spec, task_of, task_spec
from lib.datasets.load import SPLITS, Dataset, data_fingerprint, format_texts, load_dataset, stratified_sample
from lib.datasets.reading import normalise
from lib.datasets.registry import DATASETS, TASKS, DatasetSpec, other_domains

__all__ = [
    "DATASETS",
    "SPLITS",
    "TASKS",
    "Dataset",
    "DatasetSpec",
    "data_fingerprint",
    "distance_of",
    "domains_of",
    "format_texts",
    "get_spec",
    "load_dataset",
    "normalise",
    "other_domains",
    "stratified_sample",
    "task_of",
    "task_spec",
]
