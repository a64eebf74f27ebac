"""One pocket fine-tuning on one core against `transformers.Trainer`.

Run by hand: `python benchmarks/fine_tune.py`.
All fine-tune the same model on the same 2,000 sentences for the profile's epochs, in turn, in one process; accuracy stands
beside time. "Trainer, our batches" makes the same steps as we do: the ratio is what our own loop saves.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

from lib.models.batches import length_grouped_order, pad_columns
from lib.models.prediction import encode, predict_logits, tokenize
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.training import fine_tune
from lib.profiles import TrainingSettings, get_profile
from lib.study.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    profile = get_profile("pocket")
    settings = replace(profile.training, precision="float32")
    study = Study("pocket")
    train, test = study.rows("sst2"), study.rows("sst2", "test")
    variants = {
        "ours": fine_tune,
        "Trainer, our batches": train_by_trainer,
        "Trainer, its own defaults": partial(train_by_trainer, with_defaults=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    core_seconds: dict[str, list[float]] = {name: [] for name in variants}
    accuracy: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(options.repeats + 1):  # the first round warms up
        for name, variant in variants.items():
            tokenizer = load_tokenizer(profile.pretrained)
            model = new_classifier(profile.pretrained, study.dataset("sst2").label_names, head_seed=repeat)
            began, core_began = time.perf_counter(), time.process_time()
            variant(model, tokenizer, train, settings, seed=repeat)
            if repeat:
                seconds[name].append(time.perf_counter() - began)
                core_seconds[name].append(time.process_time() - core_began)
                logits = predict_logits(model, encode(tokenizer, test, profile.max_length))
                accuracy[name].append(float((logits.argmax(1) == test["label"].to_numpy()).mean()))
    print(f"{len(train)} sentences, {profile.epochs:g} epochs, one thread, {options.repeats} repeats after a warm-up")
    for name, values in seconds.items():
        core = statistics.median(core_seconds[name])
        print(
            f"{name:26s} {statistics.median(values):6.2f} s [{min(values):.2f}, {max(values):.2f}]  of one core {core:.2f} s, "
            f"{core / statistics.median(core_seconds['ours']):.2f} x ours  accuracy {statistics.mean(accuracy[name]):.3f}"
        )


def train_by_trainer(
    model: torch.nn.Module,
    tokenizer: object,
    train: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
    with_defaults: bool = False,
    is_padded_to_full_length: bool = False,
) -> None:
    """Fine-tune by `Trainer` with our optimizer and order of the batches, or with its own; texts may be padded beforehand."""
    if is_padded_to_full_length:
        encoded = tokenizer(train["text"].tolist(), truncation=True, max_length=settings.max_length, padding="max_length")
    else:
        encoded = tokenize(tokenizer, train, settings.max_length)
    rows = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    rows = [row | {"labels": label} for row, label in zip(rows, train["label"].tolist(), strict=True)]
    rng, lengths = np.random.default_rng(seed), [len(row["input_ids"]) for row in rows]
    n_steps = round(settings.epochs * -(-len(rows) // settings.batch_size))

    def collate(chosen: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        columns = {name: [row[name] for row in chosen] for name in encoded}
        return pad_columns(tokenizer, columns) | {"labels": torch.tensor([row["labels"] for row in chosen])}

    class OurBatches(Trainer):
        def get_train_dataloader(self) -> DataLoader:
            size = settings.batch_size
            order = rng.permutation(len(rows)).tolist() if with_defaults else length_grouped_order(lengths, size, rng)
            return DataLoader(rows, batch_size=size, sampler=order, collate_fn=collate)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            learning_rate=settings.learning_rate,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            warmup_steps=round(settings.warmup_ratio * n_steps),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            lr_scheduler_type="linear",
            optim="adamw_torch" if with_defaults else "adamw_torch_fused",
            seed=seed,
            logging_steps=max(1, n_steps // 60),
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = OurBatches(model, arguments, train_dataset=rows, processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


if __name__ == "__main__":
    main()
