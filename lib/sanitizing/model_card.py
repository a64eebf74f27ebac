"""The card of a merged model: what it was made of, how, and what it was checked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKS = (
    "tensor names, shapes and types of all models",
    "label names and their order",
    "tokenizers: equal token-to-id maps and special tokens",
    "architecture fields of the configurations",
    "no value that is not finite in the result",
    "integer tensors equal in all models",
)
PROTECTION = Path(__file__).with_name("protection.md")  # three sentences, written by `lib.reports` from table `14_limits`


def model_card(provenance: Mapping[str, Any], label_names: Sequence[str], screened: str = "") -> str:
    """Markdown with the front matter of the Hugging Face Hub.

    Args:
        provenance: `method`, `settings`, `pretrained`, `parents` with their role and the SHA-256 of their weight files,
            `removed`, the fields of the suspect's configuration that pointed to code, and `notes`.
        label_names: in order; empty for a model without labels.
        screened: what a screen found, as Markdown; empty if there was none.
    """
    parents = [parent["name"] for parent in provenance["parents"]]
    front = "\n".join(
        ["---", "tags:", "- merge", "- free-lunch-sanitized", "base_model:", *(f"- {name}" for name in parents), "---"]
    )
    rows = "\n".join(
        f"| {parent['role']} | {parent['name']} | {', '.join(sha[:12] for sha in parent['files'].values())} |"
        for parent in provenance["parents"]
    )
    settings = "\n".join(f"- {name}: {value}" for name, value in provenance["settings"].items()) or "- none"
    start = f"Pretrained model: {provenance['pretrained']}.\n\n" if provenance["pretrained"] else ""
    labels = f"Labels in order: {', '.join(label_names)}.\n\n" if label_names else ""
    checks = "\n".join(f"- {check}" for check in CHECKS)
    removed = "\n".join(f"- {field}" for field in provenance["removed"])
    without = f"\n## Removed, because it pointed to code outside transformers\n{removed}\n" if removed else ""
    notes = "".join(f"{note}\n\n" for note in provenance["notes"])
    protection = PROTECTION.read_text(encoding="utf-8").strip()
    screening = f"\n## Screened before merging\n{screened}\n" if screened else ""
    return (
        f"{front}\n\n# A merge by {provenance['method']}\n\n"
        "The weights of several models of one architecture were merged in order to weaken a backdoor that one of them may have "
        "(Arora et al. 2024, arXiv 2402.19334). A merge lowers the success of an attack; it proves nothing about it.\n\n"
        f"| role | model | SHA-256 of its weights, first digits |\n|---|---|---|\n{rows}\n\n"
        f"{start}{labels}{notes}## Against whom a merge protects\n{protection}\n\n"
        f"## Settings\n{settings}\n\n## Checked before merging\n{checks}\n{screening}{without}"
    )
