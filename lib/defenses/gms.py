"""GMS, guided module substitution (Tong et al. 2024, arXiv 2412.20476): some modules of one other model, chosen by a score.

The search is `lib.merging.substitution`; here are the rows on which it scores a candidate.
"""

# As in the released code (`weijun-l/guided-module-substitution`, `src/encoder-gms`, `src/train_eval`), but for these points:
# - The training logits of the suspicious model, of which the code keeps one set per epoch, are not in a published checkpoint,
#   nor in ours. Here the defender fine-tunes the pretrained model on the same rows and keeps those.
# - The rows of highest `1 / (1 - p)`, p the probability of their own label, are suspicious. A comment in
#   `proxy_data_sampling.py` says that low confidence is; its code sorts the other way, and so does ours.
# - 200 rows of each kind there; here never more than a tenth of the training rows, for in a small set poisoned rows are few.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.merging import StateDict, check_mergeable
from lib.merging.sources import as_sources
from lib.merging.substitution import guided_module_substitution, substitution_score
from lib.models.prediction import encode, predict_logits, probabilities
from lib.models.pretrained import new_classifier
from lib.models.training import optimise, weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SMALLEST = 1e-8  # added to 1 - p, as released


def gms(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    clean: None,
    *,
    suspicious_train: pd.DataFrame,
    training: TrainingSettings,
    pretrained: str,
    seed: int,
    alpha: float = 0.4,
    n_rows: int = 200,
    patience: int = 5,
) -> PreTrainedModel:
    """Replace modules of the suspicious model by those of another, so that suspicious rows lose their label and others do not.

    Embeddings, normalisation, pooler and head stay its own.

    Args:
        models: the suspicious model, modified, and the proxy: a model of the same architecture and labels. Others are not used.
        tokenizer: of the suspicious model.
        clean: none is asked for.
        suspicious_train: the rows that the suspicious model was trained on, with `text`, perhaps `text_pair`, and `label`.
        training, pretrained: how it was fine-tuned, and from what.
        seed: of the training that finds suspicious rows, and of the other rows.
        alpha: weight of the accuracy that is left, in [0, 1]; the rest is the weight of the suspicious rows that are lost.
        n_rows: suspicious rows, and rows drawn from all, and of each never more than a tenth of the training rows.
        patience: of the search.

    Raises:
        ValueError: for a missing proxy, one that does not fit, or a setting that cannot be.
    """
    _check(models, alpha, n_rows, patience)
    model, victim, proxy = models[0], weights_of(models[0]), weights_of(models[1])
    check_mergeable(as_sources([victim, proxy], ["the suspicious model", "the proxy"]))
    n = max(1, min(n_rows, len(suspicious_train) // 10))
    suspects = suspicious_rows(suspicious_train, tokenizer, pretrained, training, seed)[:n]
    drawn = np.random.default_rng(seed).choice(len(suspicious_train), n, replace=False)
    judged = suspicious_train.iloc[[*suspects, *drawn]]
    texts, labels = encode(tokenizer, judged, training.max_length), judged["label"].to_numpy()
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    def rates(candidate: StateDict) -> tuple[float, float]:
        model.load_state_dict(candidate)
        is_right = predict_logits(model, texts).argmax(axis=1) == labels
        return float(is_right[n:].mean()), float(is_right[:n].mean())

    victim_cacc, victim_asr = rates(victim)
    score = lambda candidate: substitution_score(*rates(candidate), victim_cacc, victim_asr, alpha)  # noqa: E731
    model.load_state_dict(guided_module_substitution(victim, proxy, score, patience)[0])
    return model


def suspicious_rows(
    train: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, pretrained: str, training: TrainingSettings, seed: int
) -> np.ndarray:
    """The training rows in the order of how surely they are learnt, the surest first, shape (n,).

    The measure is the mean over the epochs of `1 / (1 - p)`, p the probability of the row's own label.

    Args:
        train, tokenizer, pretrained, training, seed: as for `gms`.
    """
    texts, labels = encode(tokenizer, train, training.max_length), train["label"].to_numpy()
    model = new_classifier(pretrained, [str(label) for label in range(labels.max() + 1)], seed)
    per_epoch = math.ceil(len(train) / training.batch_size)
    n_steps = math.ceil(training.epochs * per_epoch)
    sureness: list[np.ndarray] = []

    def note(step: int, loss: Tensor) -> None:
        if step % per_epoch == 0 or step == n_steps:
            own = probabilities(predict_logits(model, texts))[np.arange(len(labels)), labels]
            sureness.append(1 / (1 - own + SMALLEST))
            model.train()

    optimise(model, tokenizer, train, training, seed, on_step=note)
    return np.argsort(-np.mean(sureness, axis=0), kind="stable")


def _check(models: Sequence[PreTrainedModel], alpha: float, n_rows: int, patience: int) -> None:
    if len(models) < 2:
        raise ValueError(
            "gms takes modules of another model: give one of the same architecture and labels as the suspicious one"
        )
    if not 0 <= alpha <= 1 or min(n_rows, patience) < 1:
        raise ValueError(
            f"alpha is {alpha}, n_rows {n_rows}, patience {patience}; alpha must lie in [0, 1], the others be 1 or more"
        )
