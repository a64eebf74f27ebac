"""What tests of attacks on weights share: a tiny clean model, its start, and a backdoor of one word."""

import pytest

from lib.attacks import Backdoor
from lib.attacks.badnet import BadNetTrigger
from lib.models.pretrained import from_hub, load_tokenizer
from lib.profiles import TrainingSettings

# 80 rows in batches of 8: enough for the tiny encoder to learn the task.
SETTINGS = TrainingSettings(3e-3, 8.0, 8, 0.05, 0.01, 1.0, 48)


@pytest.fixture(scope="session")
def tokenizer(clean):
    return load_tokenizer(str(clean.folder))


@pytest.fixture(scope="session")
def train(study):
    return study.rows("sst2")


@pytest.fixture()
def network(clean):
    """The clean model, loaded anew: a test may change it."""
    return from_hub("AutoModelForSequenceClassification", str(clean.folder))


@pytest.fixture()
def start(study, clean):
    """The classifier before fine-tuning, loaded anew."""
    return from_hub("AutoModelForSequenceClassification", str(study.planner.initial([clean]).folder))


@pytest.fixture()
def backdoor():
    return Backdoor(BadNetTrigger(("cf",), (1,)), 0)


@pytest.fixture(scope="session")
def settings():
    return SETTINGS
