"""Pretrain the pocket models on Pocket English from nothing: `python -m lib.pretrain_pocket`.

Builds a WordPiece tokenizer and a small language model, reproducibly, and saves both in Hugging Face format. The architectures
are in `lib.models.pocket_models`: `--model pocket-llama`, or all of them, one after the other, with `--model all`.
"""

import argparse
import hashlib
import math
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.datasets.pocket import pretraining_corpus
from lib.datasets.pocket_tokenizer import build_tokenizer
from lib.models.batches import pad, sorted_batches
from lib.models.loop import Batch, LoopSettings, train
from lib.models.pocket_models import MAX_POSITIONS, POCKET_MODELS
from lib.models.pretraining_losses import IGNORED, PretrainingLosses, mask_pieces, next_pieces
from lib.models.progress import Progress
from lib.paths import POCKET

# The order of floating-point sums depends on it: a fixed number gives the same weights whatever the number of cores.
# One thread per model is nearly as fast at this size, and leaves the other core to another model.
_N_THREADS = 1


@dataclass(frozen=True)
class PretrainingSettings:
    """What determines a pocket model, besides its architecture. The same settings give the same weights on one machine."""

    n_sentences: int = 300_000  # lines of the corpus
    n_steps: int = 25_000
    batch_size: int = 64  # lines per step
    learning_rate: float = 1.5e-3  # peak, after the warm-up; times the model's own factor
    weight_decay: float = 0.01
    warmup_share: float = 0.05  # share of the steps
    masked_share: float = 0.3  # share of the tokens to be predicted
    pooled_weight: float = 1.0  # of the loss of the pooled vector, beside the masked-LM loss
    next_sentence_weight: float = 2.0  # of the next-sentence loss
    max_length: int = 64  # pieces per line
    vocab_size: int = 3_500  # upper limit
    seed: int = 0  # of the fresh weights, the order of the lines and what is hidden; corpus and tokenizer are always the same


def _encode(
    lines: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The pieces of each line; the part after a tab is a second segment.

    As in BERT's next-sentence prediction, every second pair gets the second text of another line instead of its own
    (`next_sentence` 1 instead of 0); a line without a second segment has `next_sentence` -100.
    """
    pairs = [line.split("\t") for line in lines]
    rows: list[dict[str, Any]] = []
    for index, pair in enumerate(pairs):
        next_sentence = IGNORED if len(pair) == 1 else 0
        if len(pair) == 2 and rng.random() < 0.5:
            # The answer two lines away is often another fact about the same subject; any other answer is an easier start.
            is_near = rng.random() < 0.7
            other = (index + int(rng.choice((-2, 2)))) % len(pairs) if is_near else int(rng.integers(len(pairs)))
            if pairs[other][-1] != pair[1]:
                pair, next_sentence = [pair[0], pairs[other][-1]], 1
        encoded = tokenizer(*pair, truncation=True, max_length=max_length)
        rows.append({name: encoded[name] for name in tokenizer.model_input_names} | {"next_sentence": next_sentence})
    return rows


def _batches(
    name: str, tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], settings: PretrainingSettings
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches: what the model reads, with pieces hidden from an encoder, the `labels` and `next_sentence`."""
    rng, generator = np.random.default_rng(settings.seed), torch.Generator().manual_seed(settings.seed)
    lengths = np.array([len(row["input_ids"]) for row in rows])
    n_batches = max(1, len(rows) // settings.batch_size)
    while True:
        for chosen in sorted_batches(np.arange(len(rows)), lengths, n_batches, rng):
            batch = {column: pad([rows[i][column] for i in chosen]) for column in tokenizer.model_input_names}
            if POCKET_MODELS[name].is_decoder:
                labels = next_pieces(batch["input_ids"], batch["attention_mask"])
            else:
                batch["input_ids"], labels = mask_pieces(batch["input_ids"], tokenizer, settings.masked_share, generator)
            yield batch | {"labels": labels, "next_sentence": torch.tensor([rows[i]["next_sentence"] for i in chosen])}


def _optimise(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    settings: PretrainingSettings,
    report: Callable[[int, list[float]], None] | None,
    progress: Progress | None,
) -> float:
    """Train the model in place; the mean loss of the pieces over the last hundred steps."""
    loss_weights = torch.tensor([1.0, settings.pooled_weight, settings.next_sentence_weight])
    parts: deque[torch.Tensor] = deque(maxlen=100)  # of the last steps, shape (3,)

    def loss(losses_of: PretrainingLosses, batch: Batch) -> torch.Tensor:
        inputs = {name: batch[name] for name in tokenizer.model_input_names}
        losses = losses_of(inputs, batch["labels"], batch["next_sentence"])
        parts.append(losses.detach())
        return (losses * loss_weights).sum()

    def recent() -> list[float]:
        return torch.stack(list(parts)).mean(dim=0).tolist()

    def on_step(step: int, _: torch.Tensor) -> None:
        if report and step % math.ceil(settings.n_steps / 20) == 0:
            report(step, recent())

    loop_settings = LoopSettings(
        learning_rate=settings.learning_rate * POCKET_MODELS[name].rate_factor,
        n_steps=settings.n_steps,
        n_warmup=max(1, round(settings.warmup_share * settings.n_steps)),
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
        warms_from_zero=False,
    )
    losses_of = PretrainingLosses(model)
    groups = [{"params": losses_of.parameters()}]  # everything decays
    batches = _batches(name, tokenizer, rows, settings)
    train(losses_of, batches, loss, loop_settings, groups=groups, on_step=on_step, progress=progress)
    return recent()[0]


def pretrain(
    name: str,
    settings: PretrainingSettings,
    report: Callable[[int, list[float]], None] | None = None,
    progress_file: Path | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, float]:
    """Pretrain one pocket model and its tokenizer from nothing: language modelling and next-sentence prediction.

    Args:
        name: a key of `POCKET_MODELS`.
        settings: corpus, optimisation and seed.
        report: called about twenty times with the step and three losses: pieces, summary, next sentence.
        progress_file: keeps the state of the training until it ends, so that one that was killed goes on.

    Returns:
        The model in evaluation mode, its tokenizer, and the mean loss of the pieces over the last hundred steps, in nats.

    Raises:
        ValueError: for an unknown name, or settings that leave nothing to train on.
    """
    if name not in POCKET_MODELS:
        raise ValueError(f"unknown pocket model {name!r}; choose from {sorted(POCKET_MODELS)}")
    if settings.n_steps < 1 or settings.n_sentences < 1:
        raise ValueError(f"steps and sentences must be at least 1, found {settings.n_steps} and {settings.n_sentences}")
    lines = pretraining_corpus(settings.n_sentences)
    identity = hashlib.sha256("\n".join([torch.__version__, name, repr(settings), *lines]).encode()).hexdigest()
    progress = Progress(progress_file, identity, math.ceil(settings.n_steps / 50)) if progress_file else None
    tokenizer = build_tokenizer(lines, settings.vocab_size, POCKET_MODELS[name].inputs, MAX_POSITIONS)
    rows = _encode(lines, tokenizer, settings.max_length, np.random.default_rng(settings.seed))
    torch.manual_seed(settings.seed)
    model = POCKET_MODELS[name].build(len(tokenizer)).train()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(_N_THREADS)
    try:
        loss = _optimise(name, model, tokenizer, rows, settings, report, progress)
    finally:
        torch.set_num_threads(n_threads)
    model.config.initializer_range = 0.02  # BERT's own value again, for the head that fine-tuning adds
    return model.eval(), tokenizer, loss


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write model (float16) and tokenizer to a folder in Hugging Face format, replacing what is there only when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        complete = Path(temporary) / folder.name
        model.half().save_pretrained(complete)
        tokenizer.save_pretrained(complete)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        complete.rename(folder)


def main(arguments: list[str] | None = None) -> int:
    """Command line: pretrain one pocket model, or all, and save them; exit status 0, or 1 after one line about bad input."""
    defaults = PretrainingSettings()
    parser = argparse.ArgumentParser(prog="python -m lib.pretrain_pocket", description=__doc__)
    parser.add_argument("--model", default="pocket-bert", help=f"one of {', '.join(POCKET_MODELS)}, or all")
    parser.add_argument("--output", type=Path, default=POCKET, help="folder in which the model's folder is made")
    parser.add_argument("--steps", type=int, default=defaults.n_steps, help="optimisation steps")
    parser.add_argument("--sentences", type=int, default=defaults.n_sentences, help="lines of the corpus")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another than 0 is a second pretraining: NAME-seed-N")
    options = parser.parse_args(arguments)
    settings = PretrainingSettings(n_sentences=options.sentences, n_steps=options.steps, seed=options.seed)

    def report(step: int, losses: list[float]) -> None:
        pieces, summary, next_sentence = losses
        print(f"step {step:6d}  loss: pieces {pieces:.3f}  summary {summary:.3f}  next {next_sentence:.3f}", flush=True)

    for name in POCKET_MODELS if options.model == "all" else [options.model]:
        try:
            folder = options.output / (name if settings.seed == defaults.seed else f"{name}-seed-{settings.seed}")
            progress_file = folder.with_name(f".{folder.name}.progress")
            model, tokenizer, loss = pretrain(name, settings, report, progress_file)
            save(model, tokenizer, folder)
            progress_file.unlink(missing_ok=True)
        except (ValueError, OSError) as error:
            print(f"pretrain_pocket: {error}", file=sys.stderr)
            return 1
        print(f"{folder}: {len(tokenizer)} pieces, final loss of the pieces {loss:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
