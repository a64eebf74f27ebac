"""Language models: loaded, fine-tuned, asked for logits or words, measured, and checked for what a merge needs.

May import: `merging`, `metrics`, `profiles`, `paths`, `folders`.
Modules that need torch are imported by their own names (`lib.models.training`), so that commands which only open folders start
fast.
"""

from lib.models.checkpoints import Checkpoint, load_checkpoint
from lib.models.pretrained import fingerprint, load_tokenizer, new_classifier, resolve_pretrained

__all__ = [
    "Checkpoint",
    "fingerprint",
    "load_checkpoint",
    "load_tokenizer",
    "new_classifier",
    "resolve_pretrained",
]
