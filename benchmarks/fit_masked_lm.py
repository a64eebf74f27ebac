"""Give a sentence encoder a masked-LM head, so that ONION, LWS and BITE can ask it about real texts without a download.

Run by hand: `python benchmarks/fit_masked_lm.py <folder of all-MiniLM-L6-v2> <output> --texts yelp amazon_books imdb`.
Texts are training texts of datasets in `FREE_LUNCH_DATA`, without labels; name none that the defense will meet. On two
cores a step takes about a second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lib import paths
from lib.models.batches import pad, sorted_batches
from lib.models.loop import Batch, LoopSettings, train
from lib.models.pretraining_losses import IGNORED, mask_pieces

MASKED_SHARE = 0.2
HELD_OUT = 512  # lines that measure the loss


def lines_of(names: list[str], n: int, rng: np.random.Generator) -> list[str]:
    """Training texts of some datasets in equal parts, without labels, cut into lines of at most 60 words."""
    folder = paths.data_dir()
    if folder is None:
        raise SystemExit("set FREE_LUNCH_DATA to a folder of datasets")
    found = []
    for name in names:
        rows = (folder / name / "train.tsv").read_text(encoding="utf-8").split("\n")[1:]
        texts = [field for row in rows if row for field in row.split("\t")[:-1]]
        found += [texts[i] for i in rng.permutation(len(texts))[: n // len(names)]]
    words = [text.split() for text in found]
    return [" ".join(each[start : start + 60]) for each in words for start in range(0, max(1, len(each)), 60)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--texts", nargs="+", required=True, help="names of datasets")
    parser.add_argument("--lines", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=2e-4)
    options = parser.parse_args()
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    tokenizer, model = AutoTokenizer.from_pretrained(options.encoder), AutoModelForMaskedLM.from_pretrained(options.encoder)
    lines = lines_of(options.texts, options.lines, rng)
    ids = tokenizer([lines[i] for i in rng.permutation(len(lines))], truncation=True, max_length=64)["input_ids"]
    held, ids = ids[:HELD_OUT], ids[HELD_OUT:]
    lengths = np.array([len(each) for each in ids])

    def batch_of(rows: list[list[int]]) -> dict[str, torch.Tensor]:
        whole = pad(rows)
        masked, labels = mask_pieces(whole, tokenizer, MASKED_SHARE, generator)
        return {"input_ids": masked, "attention_mask": pad([[1] * len(row) for row in rows]), "labels": labels}

    def batches() -> Iterator[Batch]:
        while True:
            for chosen in sorted_batches(np.arange(len(ids)), lengths, len(ids) // 32, rng):
                yield batch_of([ids[i] for i in chosen])

    def loss(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        labelled = batch["labels"] != IGNORED
        states = network.base_model(batch["input_ids"], batch["attention_mask"]).last_hidden_state[labelled]
        return torch.nn.functional.cross_entropy(network.cls(states), batch["labels"][labelled])

    def held_out_loss() -> float:
        model.eval()
        generator.manual_seed(1)
        with torch.inference_mode():
            found = [loss(model, batch_of(held[start : start + 32])).item() for start in range(0, len(held), 32)]
        return float(np.mean(found))

    began = time.perf_counter()

    def report(step: int, value: torch.Tensor) -> None:
        if step % 100 == 0:
            print(f"step {step}: loss {value.item():.2f}, {time.perf_counter() - began:.0f} s", flush=True)

    settings = LoopSettings(options.rate, options.steps, n_warmup=options.steps // 20, weight_decay=0.01)
    train(model, batches(), loss, settings, on_step=report)
    print(f"loss of {HELD_OUT} lines that were not trained on: {held_out_loss():.3f} nats per piece")
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)


if __name__ == "__main__":
    main()
