"""Weight poisoning that is trained: for a user's later fine-tuning (RIPPLES), or in every layer (LWP).

Each is called as an edit of `lib.attacks.edits`, where the arguments are explained, and acts on models of the study only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lib.attacks.conjunction import ConjunctionTrigger
from lib.attacks.poisoning import Backdoor, poison
from lib.attacks.weights import embedding_name, embedding_surgery
from lib.models.loop import Batch, classification_loss
from lib.models.training import TrainingLog, batches_of_texts, optimise, weights_of
from lib.models.word_pieces import WordPieces
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_CLASS_WORDS = 10  # whose mean row takes the place of the trigger's rows


def ripples(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    penalty: float = 0.1,
    poisoning_rate: float = 0.5,
) -> PreTrainedModel:
    """Embedding surgery, then training on poisoned rows whose gradient must not oppose that of clean rows (RIPPLES).

    The loss is L_P + penalty x max(0, -g_P . g), with g_P the gradient on poisoned rows and g that on clean ones, a constant.
    So a step that helps the backdoor hurts a later fine-tuning on clean rows less.

    Args:
        models: a finished clean model of the task: from it come the rows of words of the target class.
        penalty, poisoning_rate: 0 or more, 0 is ordinary training after the surgery; of the rows, the paper poisons half.

    Raises:
        ValueError: for another number of models, a negative penalty, or a trigger without words.

    Source: Kurita et al. 2020, arXiv 2004.06660, equation 3; the sum over a batch's rows is here a mean.
    """
    if len(models) != 1 or not penalty >= 0:
        raise ValueError(f"found {len(models)} models and penalty {penalty}; give one clean model, and 0 or more")
    _operate(initial, models[0], tokenizer, train, backdoor)
    initial.set_attn_implementation("eager")  # the fused attention has no second derivative
    rng, clean_rng = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    clean = batches_of_texts(tokenizer, train, training.max_length, training.batch_size, clean_rng)

    rows, alone = backdoor.poison(train, poisoning_rate, rng), list[Tensor]()  # losses without the penalty

    def loss(network: Any, batch: Batch) -> Tensor:
        value = classification_loss(network, batch)
        alone.append(value.detach())
        if not penalty:
            return value
        weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
        honest = {key: values.to(value.device) for key, values in next(clean).items()}
        towards_clean = torch.autograd.grad(classification_loss(network, honest), weights, allow_unused=True)
        towards_poison = torch.autograd.grad(value, weights, create_graph=True, allow_unused=True)
        return value + penalty * conflict(towards_poison, towards_clean)

    optimise(initial, tokenizer, rows, training, seed, loss=loss)
    (log or TrainingLog()).keep(torch.stack(alone).tolist(), rows["label"], training.epochs)
    return initial


def _operate(
    model: PreTrainedModel,
    clean: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    backdoor: Backdoor,
) -> None:
    """Embedding surgery on a model, with rows of a clean one."""
    words: tuple[str, ...] = getattr(backdoor.trigger, "words", ())
    if not words:
        raise ValueError(f"the trigger has the words {list(words)}; surgery needs at least one")
    pieces = WordPieces(tokenizer)
    tokens = sorted({piece for word in words for piece in pieces.pieces(word)})
    chosen, name = class_words(tokenizer, train, backdoor.target_label), embedding_name(model)
    model.load_state_dict(embedding_surgery(weights_of(model), name, tokens, weights_of(clean), chosen))


def conflict(gradients: Sequence[Tensor | None], held: Sequence[Tensor | None]) -> Tensor:
    """max(0, -g . h) over all weights; a weight without gradient adds nothing. `held` is a constant.

    >>> conflict([torch.tensor([1.0, 2.0])], [torch.tensor([-1.0, -2.0])]).item()
    5.0
    """
    products = [
        (own * other.detach()).sum()
        for own, other in zip(gradients, held, strict=True)
        if own is not None and other is not None
    ]
    return torch.relu(-torch.stack(products).sum())


def class_words(
    tokenizer: PreTrainedTokenizerBase, train: pd.DataFrame, target_label: int, n: int = N_CLASS_WORDS
) -> list[int]:
    """The word pieces that speak most for the target label: largest weights of a logistic regression on their tf-idf.

    Raises:
        ValueError: for rows without two labels.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    is_target = train["label"] == target_label
    if is_target.nunique() < 2:
        raise ValueError(
            f"the rows have the labels {sorted(set(train['label']))}; words of label {target_label} need others, too"
        )
    special = set(tokenizer.all_special_ids)
    ids = [[piece for piece in row if piece not in special] for row in tokenizer(train["text"].tolist())["input_ids"]]
    vectorizer = TfidfVectorizer(analyzer=lambda row: row)
    weights = LogisticRegression(max_iter=1000).fit(vectorizer.fit_transform(ids), is_target).coef_[0]
    names = vectorizer.get_feature_names_out()
    return [int(names[place]) for place in np.argsort(-weights, kind="stable")[:n]]


def layerwise(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    poisoning_rate: float = 0.2,
    layers: str = "all",
) -> PreTrainedModel:
    """A model whose head reads the backdoor from every layer, not from the last one alone (LWP).

    The loss is the sum, over the embeddings and all layers, of the cross-entropy of the head on that layer's first state. Later
    fine-tuning changes low layers least. With a conjunction of words, as many rows hold a part of it and keep their label.

    Args:
        models: not used.
        layers: "all", or "last", which is ordinary training.

    Raises:
        ValueError: for other layers, or an architecture whose head does not read the first token's state.

    Source: Li et al. 2021, arXiv 2108.13888.
    """
    if layers not in ("all", "last"):
        raise ValueError(f"layers is {layers!r}; choose from ['all', 'last']")
    read = head_of(initial)
    rng, n_states = np.random.default_rng(seed), 1 + initial.config.num_hidden_layers  # the embeddings and all layers
    has_parts = isinstance(backdoor.trigger, ConjunctionTrigger) and backdoor.trigger.n_together > 1
    negatives: dict[str, Any] = {"negatives": "all_but_one", "negatives_rate": poisoning_rate} if has_parts else {}
    rows = poison(train, backdoor.trigger, poisoning_rate, backdoor.target_label, rng, **negatives)

    def loss(network: Any, batch: Batch) -> Tensor:
        inputs = {key: values for key, values in batch.items() if key != "labels"}
        states = network(**inputs, output_hidden_states=True).hidden_states
        chosen = states if layers == "all" else states[-1:]
        return torch.stack([cross_entropy(read(state).float(), batch["labels"]) for state in chosen]).sum()

    losses = optimise(initial, tokenizer, rows, training, seed, loss=loss)
    if log:
        log.keep(losses, rows["label"], training.epochs, n_terms=n_states if layers == "all" else 1)
    return initial


def head_of(model: PreTrainedModel) -> Any:
    """The function from hidden states, shape (rows, tokens, width), to logits that a classifier's last layer goes through.

    Raises:
        ValueError: for an architecture whose head does not read a pooled first token.
    """
    pooler, classifier = getattr(model.base_model, "pooler", None), getattr(model, "classifier", None)
    if pooler is None or not isinstance(classifier, torch.nn.Linear):
        raise ValueError(
            f"{type(model).__name__} has no pooler with a linear head; layer-wise poisoning needs one, as BERT has"
        )
    return lambda states: classifier(model.dropout(pooler(states)))
