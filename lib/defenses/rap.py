"""RAP (Yang et al. 2021): a text is rejected if a word that costs clean texts their label does not cost it its own.

The embedding of one rare word is trained, on a copy, so that the word in front of a clean text lowers the probability of the
target label by a set amount. A trigger holds the label against it.

Where others differ:
- The released code and OpenBackdoor do not clear gradients between steps, so that plain descent takes ever larger ones; the
  released code leaves dropout on. Ours: gradients cleared, Adam at the same rate, dropout off.
- OpenBackdoor trains on texts of all labels, and rejects inputs predicted as any label: those of other labels lose nothing, and
  are rejected. Ours, as the released code: texts of the label, inputs predicted as the label.
- Both take the word `cf`, a trigger of BadNet. Ours draws a word from the rare half of the vocabulary that no clean text has.
- Both must know the target label. Ours takes it as a setting; without it, every label has a word of its own in turn: what the
  attack can do is tested in the same way, and clean texts of all labels may be rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.defenses.inputs import (
    check_clean,
    check_count,
    check_share,
    labels_said,
    probabilities_said,
    segments,
    threshold_below,
)  # fmt: skip
from lib.models.edited import EditedModel
from lib.models.model import Filtered, Guard
from lib.models.prediction import encode, network_of
from lib.models.pretrained import load_tokenizer
from lib.models.word_pieces import WordPieces

LEAST_DROP, LARGEST_DROP = 0.1, 0.3  # of the probability, wanted of clean texts
SCALES = (1.0, 2.0, 4.0, 8.0)  # of the loss for too small a drop; the next one if clean texts still gain


@dataclass(frozen=True)
class Probe:
    """A word whose embedding was trained to cost clean texts a label."""

    model: Any
    edited: EditedModel
    label: int
    word: str
    max_length: int

    def drops(self, frame: pd.DataFrame) -> np.ndarray:
        """What the word costs each text of the probability of the label, shape (n,)."""
        before = probabilities_said(self.model, frame, self.max_length)[:, self.label]
        return before - probabilities_said(self.edited, with_word(frame, self.word), self.max_length)[:, self.label]


@dataclass(frozen=True)
class RowTraining:
    """How an embedding is trained."""

    epochs: int
    learning_rate: float
    batch_size: int

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be positive")


def fit(
    model: Any,
    clean: pd.DataFrame,
    *,
    seed: int,
    max_length: int,
    target_label: int | None = None,
    word: str = "",
    frr: float = 0.05,
    epochs: int = 5,
    learning_rate: float = 1e-2,
    batch_size: int = 32,
) -> Guard:
    """A filter that rejects texts whose label is held against a word that costs clean texts theirs.

    Args:
        model: what stands behind the filter: a checkpoint, or a merge.
        clean: labelled validation texts.
        seed: of the word and of the order of the batches.
        max_length: tokens that the model reads.
        target_label: of the attack, as in the paper; None: nobody knows it, and every label is tested.
        word: a word that is one token and in no clean text; default one is drawn.
        frr: share of the clean texts predicted as a label that may be rejected, in (0, 1).
        epochs, learning_rate, batch_size: of the training of the embedding.

    Raises:
        ValueError: for a setting outside its range, a label that no clean text has, or a word that will not do.
    """
    check_share("frr", frr)
    training = RowTraining(epochs, learning_rate, batch_size)
    check_clean(clean)
    known = sorted(clean["label"].unique().tolist())
    if target_label is not None and target_label not in known:
        raise ValueError(f"target_label is {target_label}, but the clean texts have the labels {known}")
    rng = np.random.default_rng(seed)
    drawn = rare_word(load_tokenizer(str(model.folder)), clean, rng, word)
    said, tests = labels_said(model, clean, max_length), {}
    for label in known if target_label is None else [target_label]:
        if (said == label).any():  # else nothing tells how much clean texts of this label lose: none is rejected
            tests[label] = fitted_probe(model, clean, said == label, label, *drawn, max_length, training, frr, rng)

    def guard(frame: pd.DataFrame) -> Filtered:
        predicted, is_rejected = labels_said(model, frame, max_length), np.zeros(len(frame), dtype=bool)
        for label, (probe, threshold) in tests.items():
            rows = np.flatnonzero(predicted == label)
            if len(rows):
                is_rejected[rows] = probe.drops(frame.iloc[rows]) < threshold
        return frame, is_rejected

    return guard


def fitted_probe(
    model: Any,
    clean: pd.DataFrame,
    is_said: np.ndarray,
    label: int,
    word: str,
    token: int,
    max_length: int,
    training: RowTraining,
    frr: float,
    rng: np.random.Generator,
) -> tuple[Probe, float]:
    """The probe of a label, trained on its clean texts, and its threshold, from those that are predicted as it (`is_said`)."""
    name = embeddings_name(model)
    for scale in SCALES:  # as a comment of the released code says: if clean texts gain, raise the scale
        row = trained_row(model, clean[clean["label"] == label], label, word, token, max_length, scale, training, rng)
        probe = Probe(model, EditedModel(model, name, token, row), label, word, max_length)
        threshold = threshold_below(probe.drops(clean[is_said]), frr)
        if threshold >= 0:
            break
    return probe, threshold


def with_word(frame: pd.DataFrame, word: str) -> pd.DataFrame:
    """The texts with the word in front; of pairs the first segment has it."""
    return frame[segments(frame)].assign(text=word + " " + frame["text"])


def drop_loss(changes: Tensor, scale: float = 1.0) -> Tensor:
    """How far the changes of a probability, shape (n,), lie from a drop of 0.1 to 0.3.

    >>> [round(float(drop_loss(torch.tensor([change]))), 3) for change in (-0.2, 0.0, -0.4)]
    [0.0, 0.1, 0.1]
    """
    return scale * (changes + LEAST_DROP).relu().mean() + (-LARGEST_DROP - changes).relu().mean()


def rare_word(tokenizer: Any, clean: pd.DataFrame, rng: np.random.Generator, word: str = "") -> tuple[str, int]:
    """A word that is one token and in no clean text, and its token.

    Tokenizers number their pieces from common to rare: the word is drawn from the later half.

    Raises:
        ValueError: if there is none, or for a given word that is not one.
    """
    used = {piece for column in segments(clean) for ids in tokenizer(clean[column].tolist())["input_ids"] for piece in ids}
    if word:
        pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(pieces) != 1 or pieces[0] in used or pieces[0] == tokenizer.unk_token_id:
            raise ValueError(f"word is {word!r}; it must be one token of the model and in no clean text; it is tokens {pieces}")
        return word, pieces[0]
    names = WordPieces(tokenizer).vocabulary
    words = [names[token] for token in sorted(names)[len(names) // 2 :]]
    pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
    unused = [(each, ids[0]) for each, ids in zip(words, pieces, strict=True) if len(ids) == 1 and ids[0] not in used]
    if not unused:
        raise ValueError(f"all of {len(words)} rare words of the tokenizer are in the clean texts; name a word that is not")
    return unused[rng.integers(len(unused))]


def embeddings_name(model: Any) -> str:
    """The name of the input embeddings in a model's state dict."""
    network = network_of(model)
    embeddings = network.get_input_embeddings()
    return next(f"{name}.weight" for name, module in network.named_modules() if module is embeddings)


def trained_row(
    model: Any,
    frame: pd.DataFrame,
    label: int,
    word: str,
    token: int,
    max_length: int,
    scale: float,
    training: RowTraining,
    rng: np.random.Generator,
) -> Tensor:
    """The embedding of the word that costs texts of a label as much as is wanted, shape (width,); its norm stays.

    Args:
        model: stays as it is: a hook puts the row in the place of the word's own.
        frame: clean texts of the label.
        label, word, token, max_length, training: as for `fit`.
        scale: see `drop_loss`.
        rng: of the order of the batches.
    """
    before = probabilities_said(model, frame, max_length)[:, label]
    encoded = encode(load_tokenizer(str(model.folder)), with_word(frame, word), max_length, training.batch_size)
    network = network_of(model)
    embeddings = network.get_input_embeddings()
    row = embeddings.weight[token].detach().clone().requires_grad_()
    norm, optimizer = row.detach().norm(), torch.optim.Adam([row], lr=training.learning_rate)
    was = torch.from_numpy(before[encoded.order]).to(row.device).split([len(batch["input_ids"]) for batch in encoded.batches])
    hook = embeddings.register_forward_hook(lambda _, ids, found: torch.where((ids[0] == token)[..., None], row, found))
    try:
        for number in (number for _ in range(training.epochs) for number in rng.permutation(len(was))):
            batch = {name: values.to(row.device) for name, values in encoded.batches[number].items()}
            changes = network(**batch).logits.float().softmax(-1)[:, label] - was[number]
            # Of the row alone: the network's weights get no gradient.
            (row.grad,) = torch.autograd.grad(drop_loss(changes, scale), [row])
            optimizer.step()
            row.data *= norm / row.data.norm()
    finally:
        hook.remove()
    return row.detach().cpu()
