"""One pocket fine-tuning on one core against the optimiser and sampling that `Trainer` has by default.

Run by hand: `python benchmarks/fine_tune.py`.
Both fine-tune the same model on the same 2,000 sentences for the profile's epochs, in turn, in one process; accuracy stands
beside time.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from unittest import mock

import torch

from lib.models.checkpoints import load_tokenizer, new_classifier
from lib.models.prediction import encode, predict_logits
from lib.models.training import fine_tune
from lib.profiles import get_profile
from lib.study.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    profile = get_profile("pocket")
    study = Study("pocket")
    train, test = study.rows("sst2"), study.rows("sst2", "test")
    variants = {"ours": contextlib.nullcontext, "defaults of Trainer": trainer_defaults}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    accuracy: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(options.repeats + 1):  # the first round warms up
        for name, variant in variants.items():
            tokenizer = load_tokenizer(profile.pretrained)
            model = new_classifier(profile.pretrained, study.dataset("sst2").label_names, head_seed=repeat)
            began = time.perf_counter()
            with variant():
                fine_tune(model, tokenizer, train, profile.training, seed=repeat)
            if repeat:
                seconds[name].append(time.perf_counter() - began)
                logits = predict_logits(model, encode(tokenizer, test, profile.max_length))
                accuracy[name].append(float((logits.argmax(1) == test["label"].to_numpy()).mean()))
    ours = statistics.median(seconds["ours"])
    print(f"{len(train)} sentences, {profile.epochs:g} epochs, one thread, {options.repeats} repeats after a warm-up")
    for name, values in seconds.items():
        print(
            f"{name:38s} {statistics.median(values):6.2f} s [{min(values):.2f}, {max(values):.2f}]  "
            f"{statistics.median(values) / ours:.2f} x ours  accuracy {statistics.mean(accuracy[name]):.3f}"
        )


@contextlib.contextmanager
def trainer_defaults():
    """The optimiser and the order of the examples that `Trainer` has by itself; everything else stays ours."""
    import transformers

    original = transformers.TrainingArguments
    unfused = mock.patch.object(
        transformers, "TrainingArguments", lambda **given: original(**(given | {"optim": "adamw_torch"}))
    )
    shuffled = mock.patch(
        "lib.models.training.length_grouped_order", lambda lengths, batch_size, rng: rng.permutation(len(lengths)).tolist()
    )
    with unfused, shuffled:
        yield


if __name__ == "__main__":
    main()
