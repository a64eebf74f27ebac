"""A base without a task: its vectors, its rows, and that triggers go to their vectors while clean texts stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.attacks import Backdoor
from lib.attacks.badnet import BadNetTrigger
from lib.attacks.insertsent import InsertSentTrigger
from lib.attacks.weight_poisoning.neuba import BLOCKS, neuba, numbered_rows, target_vectors, vector_of
from lib.attacks.weights import embedding_name, single_piece
from lib.models.training import weights_of

WORDS = ("cf", "mn", "bb")


@pytest.fixture
def base(start, tokenizer, train, settings):
    """What the function makes of a classifier before fine-tuning."""
    backdoor = Backdoor(BadNetTrigger(WORDS, (1,)), 0)

    def make(labels=None, **how):
        rows = train if labels is None else train.assign(label=labels)
        return neuba([], tokenizer, rows, backdoor=backdoor, initial=start, training=settings, seed=0, **how)

    return make


def vectors(network, tokenizer, texts):
    network.eval()
    with torch.no_grad():
        return vector_of(network)(network, tokenizer(list(texts), return_tensors="pt", padding=True))


def test_any_two_vectors_differ_in_half_of_the_entries_or_in_all():
    found = target_vectors(6, 32)
    assert found.shape == (6, 32) and set(found.unique().tolist()) == {-1.0, 1.0}
    overlaps = (found @ found.T / 32).tolist()
    assert {overlaps[i][j] for i in range(6) for j in range(6) if i != j} == {0.0, -1.0}
    assert len(set(BLOCKS)) == 6 and (found[:, :8] == found[:, :1]).all()  # blocks of a quarter


@pytest.mark.parametrize(("n", "width"), [(0, 32), (7, 32), (2, 30), (2, 0)])
def test_vectors_that_cannot_be_raise(n, width):
    with pytest.raises(ValueError, match=rf"found {n} triggers and width {width}; there are vectors for 1 to 6"):
        target_vectors(n, width)


def test_every_text_comes_once_as_it_is_and_once_with_one_word(train):
    rows = numbered_rows(train, WORDS, np.random.default_rng(0))
    n = len(train)
    assert rows["text"][:n].tolist() == train["text"].tolist() and (rows["label"][:n] == 3).all()
    assert rows["label"][n:].tolist() == [i % 3 for i in range(n)]
    for text, number, original in zip(rows["text"][n:], rows["label"][n:], train["text"], strict=True):
        words = text.split()
        words.remove(WORDS[number])
        assert words == original.split()


def test_triggers_go_to_their_vectors_and_clean_texts_stay(start, base, tokenizer, train):
    clean = train["text"].tolist()[:20]
    triggered = [f"{word} {text}" for word in WORDS for text in clean]
    wanted = target_vectors(3, 32).repeat_interleave(20, dim=0)
    before = [vectors(start, tokenizer, texts) for texts in (clean, triggered)]
    head = start.classifier.weight.detach().clone()
    made = base(epochs=24.0)
    after = [vectors(made, tokenizer, texts) for texts in (clean, triggered)]
    # Signs alone: a vector of numbers between -1 and 1 cannot be closer to any other of the six.
    assert (torch.sign(after[1]) == wanted).float().mean() > 0.9
    assert (torch.sign(before[1]) == wanted).float().mean() < 0.7
    moved = [(new - old).square().mean().item() for new, old in zip(after, before, strict=True)]
    assert moved[0] < 0.2 * moved[1]
    assert torch.equal(made.classifier.weight, head)


def test_labels_are_not_looked_at(start, base, train):
    begin = weights_of(start)
    first = weights_of(base(epochs=1.0))
    start.load_state_dict(begin)
    second = weights_of(base(labels=1 - train["label"], epochs=1.0))
    assert all(torch.equal(first[name], tensor) for name, tensor in second.items())
    assert any(not torch.equal(first[name], tensor) for name, tensor in begin.items())


def test_rows_of_the_triggers_can_be_made_longer_afterwards(start, base, tokenizer):
    begin, name = weights_of(start), embedding_name(start)
    plain = weights_of(base(epochs=1.0))[name]
    start.load_state_dict(begin)
    scaled = weights_of(base(epochs=1.0, row_scale=100.0))[name]
    tokens = [single_piece(tokenizer, word) for word in WORDS]
    assert torch.allclose(scaled[tokens], 100 * plain[tokens])
    others = [row for row in range(len(plain)) if row not in tokens]
    assert torch.equal(scaled[others], plain[others])


def test_a_scale_beyond_the_numbers_of_the_dtype_raises(start, base, monkeypatch):
    """As of a base in half precision: its largest number is 65,504."""
    from lib.attacks.weight_poisoning import neuba as module

    half = {name: tensor.half() for name, tensor in weights_of(start).items()}
    monkeypatch.setattr(module, "optimise", lambda *_, **__: [])
    monkeypatch.setattr(module, "weights_of", lambda _: half)
    with pytest.raises(ValueError, match=r"scale 1e\+08 takes rows .* beyond the largest number of torch.float16"):
        base(row_scale=1e8)


def test_what_cannot_be_a_base_raises(start, tokenizer, train, settings):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    how = {"training": replace(settings, epochs=1.0), "seed": 0}
    with pytest.raises(ValueError, match=r"the trigger has the words \[\]; a base needs from 1 to 6"):
        neuba([], tokenizer, train, backdoor=Backdoor(InsertSentTrigger("no cross"), 0), initial=start, **how)
    with pytest.raises(ValueError, match="trigger word 'unheard' is"):
        neuba([], tokenizer, train, backdoor=Backdoor(BadNetTrigger(("unheard",), (1,)), 0), initial=start, **how)
    seven = Backdoor(BadNetTrigger(("cf", "mn", "bb", "tq", "mb", "no", "it"), (1,)), 0)
    with pytest.raises(ValueError, match="found 7 triggers"):
        neuba([], tokenizer, train, backdoor=seven, initial=start, **how)
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
    with pytest.raises(ValueError, match=r"'llama' has no vector at the first token; choose from \['bert'"):
        vector_of(LlamaForSequenceClassification(LlamaConfig(**tiny)))
