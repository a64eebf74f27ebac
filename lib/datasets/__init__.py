"""Datasets as frames of text and label: the registry of the real ones, Pocket English, and one loader for all.

May import: `folders`, `paths`.
"""

from lib.datasets.draws import SAME_TASK_SEED_STEP, dealt_sample, draw_number, part_of
from lib.datasets.known import distance_of, domains_of, get_spec, task_of, task_spec
from lib.datasets.load import SPLITS, Dataset, data_fingerprint, format_texts, load_dataset, pocket_dataset, rows_of_seed
from lib.datasets.reading import normalise
from lib.datasets.registry import DATASETS, TASKS, DatasetSpec, other_domains
from lib.datasets.unlabelled import UnlabelledTexts, unlabelled_texts

__all__ = [
    "DATASETS",
    "SAME_TASK_SEED_STEP",
    "SPLITS",
    "TASKS",
    "Dataset",
    "DatasetSpec",
    "UnlabelledTexts",
    "data_fingerprint",
    "dealt_sample",
    "distance_of",
    "domains_of",
    "draw_number",
    "format_texts",
    "get_spec",
    "load_dataset",
    "normalise",
    "other_domains",
    "part_of",
    "pocket_dataset",
    "rows_of_seed",
    "task_of",
    "task_spec",
    "unlabelled_texts",
]
