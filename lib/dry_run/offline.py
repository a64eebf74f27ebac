"""A planner that downloads nothing: names in place of contents, and sizes counted where data are at hand, else estimated."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.datasets import rows_of_seed
from lib.dry_run.estimates import HUB_ROWS, hub_rows
from lib.models.prediction import tokenize
from lib.models.pretrained import load_tokenizer, resolve_pretrained
from lib.profiles import get_profile
from lib.study.artifacts import find_locations
from lib.study.planning import Planner
from lib.study.recipes import DataRecipe

N_TEXTS = 200  # whose pieces are counted


class OfflinePlanner(Planner):
    """Names instead of contents for what lies on the Hub, so that nothing is downloaded."""

    @property
    def is_on_hub(self) -> bool:
        """Whether real data would come from the Hub."""
        return self.profile.source == "real" and self.locations.data_dir is None

    def fingerprint(self, pretrained: str) -> str:
        if Path(resolve_pretrained(pretrained)).is_dir():
            return super().fingerprint(pretrained)
        self.locations.models[pretrained] = pretrained
        return pretrained

    def data_fingerprint(self, dataset: str) -> str:
        return dataset if self.is_on_hub else super().data_fingerprint(dataset)

    def n_rows(self, data: DataRecipe) -> int:
        """Rows of a recipe: counted where the data are at hand, estimated for the Hub."""
        return hub_rows(data) if self.is_on_hub else super().n_rows(data)

    def n_pieces(self, dataset: str, pretrained: str) -> float:
        """Mean pieces of a dataset's training texts: of some, where data and tokenizer are at hand, else estimated."""
        max_length = self.profile.max_length
        if self.is_on_hub:
            return min(max_length, HUB_ROWS[dataset][-1])
        if not Path(resolve_pretrained(pretrained)).is_dir():
            return max_length
        profile = self.profile
        texts = (dataset, profile.source, "train", N_TEXTS, 0, self.locations.data_dir, profile.pair_mode, profile.text_format)
        return _mean_pieces(pretrained, max_length, *texts)


@lru_cache(maxsize=256)
def _mean_pieces(pretrained: str, max_length: int, *texts: Any) -> float:
    """Of the rows that `rows_of_seed` draws."""
    ids = tokenize(load_tokenizer(pretrained), rows_of_seed(*texts), max_length)["input_ids"]
    return sum(map(len, ids)) / len(ids)


def offline_planner(profile: str, *, data_dir: str | Path = "", cache_dir: str | Path = "", **overrides: Any) -> OfflinePlanner:
    """The planner of a dry run; for the arguments see `lib.study.Study`."""
    chosen = get_profile(profile, **overrides)
    return OfflinePlanner(chosen, find_locations(chosen, data_dir, cache_dir))
