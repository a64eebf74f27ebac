"""Merge methods by name, as functions on tensors, and one engine that applies them to models in memory or in files.

May import: `folders`, to read files. It knows state dicts, no dataset and no tokenizer.
"""

from __future__ import annotations

from lib.merging.averaging import check_weights, weight_average
from lib.merging.checks import check_mergeable
from lib.merging.engine import Merge
from lib.merging.methods import MERGE_METHODS, MergeMethod, get_merge_method
from lib.merging.sources import ModelSource, StateDict, StateDictSource, TensorInfo
from lib.merging.state_dicts import distance, merge_state_dicts

__all__ = [
    "MERGE_METHODS",
    "Merge",
    "MergeMethod",
    "ModelSource",
    "StateDict",
    "StateDictSource",
    "TensorInfo",
    "check_mergeable",
    "check_weights",
    "distance",
    "get_merge_method",
    "merge_state_dicts",
    "weight_average",
]
