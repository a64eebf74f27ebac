"""Fine-tuned models stored as LoRA adapters of their pretrained model, and every model folder opened in one way.

Of seven billion weights some 80 MB are stored instead of 27 GB. The folder has PEFT's two files, so that peft can read it, and
two of ours: `base.json` says which tensor lies where, and `own.safetensors` has those that the pretrained model lacks, such as
a pooler. The rest of `lib` sees whole models: `open_model` reads them row by row, `load_classifier` builds the network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lib.folders import read_json
from lib.merging import ModelSource, StateDict
from lib.merging.adapted import AdaptedSource, Addition
from lib.merging.files import open_weights
from lib.merging.lora import PEFT_CONFIG, PEFT_WEIGHTS, A, Adapter, B, scaling_of
from lib.models.pretrained import BASE_FILE, find_content, fingerprint, from_hub, pretrained_folder, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OWN_WEIGHTS = "own.safetensors"
ANSWERS_ONLY = "answers_only.txt"  # in the folder of a model of which the store has what it said, and no weights
PREFIX = "base_model.model."  # of the names in PEFT's files
TRAINED_COPY, ORIGINAL, BEHIND = ".modules_to_save.default.", ".original_module.", ".base_layer."


def is_adapted(folder: Path) -> bool:
    """Whether a folder holds a model as an adapter that `save_adapter` wrote."""
    return (folder / BASE_FILE).is_file()


def save_adapter(adapted: Any, folder: Path, pretrained: str) -> None:
    """Write a PEFT model before its adapters are added to the weights, without the weights of the pretrained model.

    Args:
        adapted: LoRA on linear layers, perhaps with modules that were trained whole. Its other weights are those of
            `pretrained`.
        folder: exists; gets everything but configuration and tokenizer.
        pretrained: bundled name, folder or Hub id.
    """
    from peft import get_peft_model_state_dict

    trained = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    _save(trained, folder / PEFT_WEIGHTS)
    adapted.peft_config["default"].save_pretrained(folder)
    turned = [name for name, module in adapted.get_base_model().named_modules() if getattr(module, "fan_in_fan_out", False)]
    weights, base = _weights_before(adapted), open_weights(pretrained_folder(pretrained), pretrained)
    replaced = {name.removeprefix(PREFIX) for name in trained}
    places = {key: "" if key in replaced else _place(key, tensor, base) for key, tensor in weights.items()}
    if own := {key: weights[key] for key, place in places.items() if not place and key not in replaced}:
        _save(own, folder / OWN_WEIGHTS)
    content = {"pretrained": pretrained, "fingerprint": fingerprint(pretrained), "turned": turned, "places": places}
    (folder / BASE_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _save(tensors: StateDict, path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def _weights_before(adapted: Any) -> StateDict:
    """Every tensor of the classifier under its own name: those that LoRA adds to as they were before it."""
    found: StateDict = {}
    for name, tensor in adapted.get_base_model().state_dict().items():
        if ".lora_" not in name and TRAINED_COPY not in name:
            found[name.replace(BEHIND, ".").replace(ORIGINAL, ".")] = tensor
    return found


def _place(key: str, tensor: torch.Tensor, base: ModelSource) -> str:
    """What the pretrained model calls a tensor of the classifier, "" if it lacks it; encoders may lack the first name."""
    for name in (key, key.partition(".")[2]):
        if name in base.tensors and base.tensors[name].shape == tuple(tensor.shape):
            return name if tensor.is_floating_point() else ""
    return ""


def open_model(folder: Path, name: str) -> ModelSource:
    """The weights of any model folder, row by row: whole ones as `open_weights`, adapters as the models they stand for.

    Raises:
        ValueError: for a damaged folder, one without weights, or an adapter whose pretrained model cannot be found.
    """
    _check_weights(folder)
    if not is_adapted(folder):
        return open_weights(folder, name)
    content = _read_base(folder / BASE_FILE)
    pretrained = find_content(content["fingerprint"], content["pretrained"], f"the model in {folder}")
    trained = {key.removeprefix(PREFIX): tensor for key, tensor in _tensors(folder / PEFT_WEIGHTS).items()}
    additions = _additions(trained, scaling_of(read_json(folder / PEFT_CONFIG)), content["turned"])
    own = _tensors(folder / OWN_WEIGHTS) if (folder / OWN_WEIGHTS).is_file() else {}
    own |= {key: tensor for key, tensor in trained.items() if not key.endswith((A, B))}
    return AdaptedSource(open_weights(pretrained_folder(pretrained), pretrained), content["places"], additions, own, name)


def _check_weights(folder: Path) -> None:
    if (folder / ANSWERS_ONLY).is_file():
        raise ValueError(
            f"of the model in {folder} the store has what it said, and no weights, but weights are needed here; "
            "`python -m lib.answers forget` removes all such models, and the next run trains them"
        )


def _additions(trained: Mapping[str, torch.Tensor], scaling: float, turned: list[str]) -> dict[str, Addition]:
    stems = [key.removesuffix(A) for key in trained if key.endswith(A)]
    if lonely := [stem for stem in stems if stem + B not in trained]:
        raise ValueError(f"an adapter is damaged: of the two factors of {lonely[:3]} only A is there")
    return {
        f"{stem}.weight": Addition(Adapter(trained[stem + A], trained[stem + B], scaling), stem in turned) for stem in stems
    }


def _read_base(file: Path) -> dict[str, Any]:
    content = read_json(file)
    turned, places = content.get("turned"), content.get("places")
    named = [content.get("pretrained"), content.get("fingerprint"), *(turned if isinstance(turned, list) else [None])]
    named += [*places, *places.values()] if isinstance(places, dict) else [None]
    if not all(isinstance(name, str) for name in named):
        raise ValueError(f"{file} is damaged: it needs pretrained, fingerprint, turned and places, which hold names")
    return content


def _tensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_weights(folder: Path) -> StateDict:
    """All tensors of a model folder in safetensors, or of an adapter with its pretrained model; errors as of `open_model`."""
    _check_weights(folder)
    if is_adapted(folder):
        source = open_model(folder, folder.name)
        assert isinstance(source, AdaptedSource)
        return source.state_dict()
    return {name: tensor for file in weight_files(folder) for name, tensor in _tensors(file).items()}


def load_classifier(folder: str | Path, **settings: Any) -> PreTrainedModel:
    """The classifier of a model folder in float32, in evaluation mode; a folder that holds an adapter is made whole.

    Args:
        folder: with configuration and weights.
        settings: of transformers' `from_pretrained` and `from_config`, such as `attn_implementation`.

    Raises:
        ValueError: for a folder that cannot be loaded; names it.
    """
    folder = Path(folder)
    _check_weights(folder)
    if not is_adapted(folder):
        return from_hub("AutoModelForSequenceClassification", str(folder), dtype=torch.float32, **settings)
    from transformers import AutoModelForSequenceClassification

    config = from_hub("AutoConfig", str(folder))
    network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32, **settings)
    network.load_state_dict(read_weights(folder))
    return network.eval()
