"""What the tests of defenses share: the suspicious model in memory, its tokenizer, clean rows, and a function that watches."""

import functools
import inspect
from dataclasses import replace

import pytest

from lib.defenses import DEFENSES
from lib.models.pretrained import from_hub, load_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tiny_encoder):
    return load_tokenizer(str(tiny_encoder))


@pytest.fixture
def load():
    """A function that loads a checkpoint of the tiny study as a network; each call another copy."""
    return lambda checkpoint: from_hub("AutoModelForSequenceClassification", str(checkpoint.folder)).eval()


@pytest.fixture
def suspicious(load, backdoored):
    return load(backdoored)


@pytest.fixture(scope="session")
def clean_rows(study):
    """Twenty clean validation rows, ten of each label."""
    return study.rows("sst2", "validation")


@pytest.fixture(scope="session")
def training(study):
    return study.planner.training({})


@pytest.fixture
def watch(monkeypatch):
    """A function that notes what a defense is called with, positions and names, while the study works as ever."""

    def watched(name):
        calls, function = [], DEFENSES[name].function

        @functools.wraps(function)
        def noting(*args, **kwargs):
            calls.append((args, kwargs))
            return function(*args, **kwargs)

        noting.__signature__ = inspect.signature(function)
        monkeypatch.setitem(DEFENSES, name, replace(DEFENSES[name], function=noting))
        return calls

    return watched


@pytest.fixture(scope="session")
def assert_no_peeking(study):
    """A function that asserts that no frame that a defense was given has a mark of poison or a triggered test text."""
    triggered = set(study.triggered_test("sst2", "badnet")["text"])

    def check(calls, n_rows):
        [(args, kwargs)] = calls
        frames = [value for value in [*args, *kwargs.values()] if hasattr(value, "columns")]
        assert [len(frame) for frame in frames] == n_rows
        for frame in frames:
            assert set(frame.columns) <= {"text", "text_pair", "label"}
            assert not set(frame["text"]) & triggered
        assert not set(kwargs) & {"target_label", "test", "trigger"}

    return check
