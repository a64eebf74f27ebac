"""The five families of defenses, each as the function that a defense brings. The study calls them; none knows a study.

| family | kind | the function is called as | and returns |
|---|---|---|---|
| training_time | `row_filter` | `keep_rows(train, ...)` | which rows are trained on, bool, shape (n,) |
| training_time | `training` | `fine_tune(model, tokenizer, train, settings, seed, ...)` | a `TrainingRecord` |
| input_filter | `input_filter` | `fit(model, clean, ...)` | a `Guard`, from texts to `Filtered` texts |
| post_training | `post_training` | `derive(models, tokenizer, clean, ...)` | a network of the same architecture |
| merging | `merging` | `choose(models, ...)` | arguments of `study.merge` |
| ensemble | `ensemble` | `combine(logits, ...)` | logits, shape (n, n_labels), from those of all models |

A function of the kind `training` modifies the model in place. Every further argument is a setting of the defense, with a
default; `seed`, `masked_lm`, `causal_lm` and `pretrained` are given by the study to a function that names them, and to an input
filter `max_length`, the tokens that the model reads, and `published_scores`, a folder of the data. A filter of rows and a
post-training defense may also name `training`, how models are fine-tuned in this study (`TrainingSettings`); a filter of rows
`suspicious_model`, the folder of the model that all the rows give; a post-training defense `suspicious_train`, the rows that
the first model was trained on. No function sees a triggered text, a poison flag or a test split, nor the target label, unless
whoever calls it gives it as a setting. Attackers, who make models in the same way as a post-training defense
(`lib.attacks.edits`), alone get `backdoor`, which texts shall get which label, and `log`, which takes the losses of what they
train. They and students (`lib.models.distillation`) get `initial`, the classifier before fine-tuning, and students
`teacher_logits`, what each of the models says to texts that have no labels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Kind of function -> its family, and how many arguments the study gives by position.
KINDS = {
    "row_filter": ("training_time", 1),
    "training": ("training_time", 5),
    "input_filter": ("input_filter", 2),
    "post_training": ("post_training", 3),
    "merging": ("merging", 1),
    "ensemble": ("ensemble", 1),
}
# What a defense may ask for beside the suspicious model: a column of the table of results.
NEEDS = (
    "training data", "clean texts", "clean labelled data", "other models", "language model", "target label", "poisoning rate",
    "extra passes",
)  # fmt: skip
# By the study; no settings.
GIVEN = (
    "seed", "masked_lm", "causal_lm", "pretrained", "max_length", "training", "suspicious_train", "suspicious_model",
    "published_scores", "backdoor", "initial", "log", "teacher_logits",
)  # fmt: skip


@dataclass(frozen=True)
class Defense:
    """A defense: what kind of function it brings, the function, and what it needs.

    Attributes:
        kind: a key of `KINDS`.
        function: see the table above.
        needs: some of `NEEDS`.
        version: bump when the same settings would do something else.

    Raises:
        ValueError: for an unknown kind or need, a setting without default, or `max_length` where no model reads texts.
    """

    kind: str
    function: Callable[..., Any]
    needs: tuple[str, ...] = ()
    version: int | str = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of defense {self.kind!r}; choose from {list(KINDS)}")
        if unknown := sorted(set(self.needs) - set(NEEDS)):
            raise ValueError(f"unknown needs {unknown}; choose from {list(NEEDS)}")
        if lacking := [name for name, default in self.settings.items() if default is inspect.Parameter.empty]:
            raise ValueError(f"settings {lacking} of {self.function.__name__} have no default; give them one")
        if self.kind != "input_filter" and self.takes("max_length"):
            raise ValueError(f"max_length is given to input filters, and {self.function.__name__} is a {self.kind}")

    @property
    def family(self) -> str:
        """One of the five families."""
        return KINDS[self.kind][0]

    @property
    def settings(self) -> dict[str, Any]:
        """Names and defaults of the settings."""
        parameters = list(inspect.signature(self.function).parameters.values())[KINDS[self.kind][1] :]
        return {p.name: p.default for p in parameters if p.name not in GIVEN}

    def resolved(self, **given: Any) -> dict[str, Any]:
        """The settings with every default filled in.

        Raises:
            ValueError: for an unknown setting.
        """
        if unknown := sorted(set(given) - set(self.settings)):
            raise ValueError(f"unknown settings {unknown}; choose from {sorted(self.settings)}")
        return self.settings | given

    def takes(self, name: str) -> bool:
        """Whether the function names an argument."""
        return name in inspect.signature(self.function).parameters

    def call(self, *positional: Any, settings: dict[str, Any], **given: Any) -> Any:
        """Call the function with its settings, and with what it names of `GIVEN`."""
        return self.function(*positional, **{name: value for name, value in given.items() if self.takes(name)}, **settings)
