"""Open exercises of notebooks 04, 11 and 14 on whole models, of difficulty 3; see `open_start`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.models.checkpoints import Checkpoint
from lib.notebook.exercises.feedback import exercise
from lib.notebook.exercises.trying import TOLERANCE, attempted, beaten, comparison, is_enough, rates
from lib.notebook.mixing import Mixer
from lib.study.study import Study
from lib.tables.architectures import architecture_name, parse_architecture
from lib.tables.limits import SCALES, Attacked, scaled_submission

LONGEST = 2.0  # times the mean length of the others' task vectors


@exercise(
    "A partner does two things: it takes weight from the backdoored model, and it brings what it knows of the task.",
    "The number of partners decides the weight. So keep the number, and ask which of them know the task best.",
)
def open_team(answer: Sequence[str] | None, study: Study, task: str, attack: str, seed: int = 0) -> str:
    """Notebook 04: partners of either kind, no more than there are other domains, that beat all other domains."""

    def scored() -> str:
        domains = study.other_domains(task)
        known: dict[str, Checkpoint] = dict(zip(domains, study.partners(task, "other_domains", seed), strict=True))
        known |= {f"same_task_{i}": model for i, model in enumerate(study.partners(task, "same_task", seed), 1)}
        chosen = list(answer or [])
        if not 1 <= len(set(chosen)) == len(chosen) <= len(domains) or set(chosen) - set(known):
            raise ValueError(f"name one to {len(domains)} different partners of {list(known)}")
        mixer = Mixer(study, task, attack, seed)
        merged = study.merge([mixer.models["backdoored"], *(known[name] for name in chosen)])
        everyone = mixer.mix("weight_average", [1] * len(mixer.models)).score
        return beaten(mixer.judge.score(merged), everyone, "the average with all other domains", mixer.clean)

    return attempted(answer, scored)


@exercise(
    "The plain average gives the backdoored model one fifth everywhere. For which kinds of models is that too much?",
    "Which rules of notebook 05 do not listen to what one model alone says?",
)
def open_everywhere(
    answer: tuple[str, Mapping[str, Any]] | None,
    study: Study,
    task: str,
    attack: str,
    architectures: Sequence[str],
    seed: int = 0,
) -> str:
    """Notebook 11: one merge method with settings that beats the plain average on every pretrained model."""

    def scored() -> str:
        assert answer is not None
        method, settings = answer
        pairs, lost = [], []
        for text in architectures:
            mixer = Mixer(study.variant(**parse_architecture(text)), task, attack, seed)
            plain = mixer.mix("weight_average", [1] * len(mixer.models)).score
            mine = mixer.judge.score(mixer.study.merge(list(mixer.models.values()), method, **settings))
            pairs.append([mine.asr, mine.cacc, plain.asr, plain.cacc])
            if mine.asr >= plain.asr or mine.cacc < plain.cacc - TOLERANCE:
                lost.append(architecture_name(text))
        asr, cacc, plain_asr, plain_cacc = np.mean(pairs, axis=0)
        said = f"scored: ASR {asr:.1%}, CACC {cacc:.1%} on average over {len(pairs)} entries; {comparison(not lost)} the plain "
        return f"{said}average, ASR {plain_asr:.1%}, CACC {plain_cacc:.1%}" + (f"; not on {', '.join(lost)}" if lost else "")

    return attempted(answer, scored)


@exercise(
    "Three things can be made longer. Which of them costs the submitted model no accuracy?",
    "The lower panels of section 4 show how long each vector gets; the row is only one of some thousand.",
)
def open_attack(answer: tuple[str, float] | None, study: Study, task: str, seed: int = 0) -> str:
    """Notebook 14: what to scale, and by how much: the backdoor survives the average, and the model is not conspicuous."""

    def scored() -> str:
        assert answer is not None
        what, scale = answer
        if what not in SCALES or not scale > 0:
            raise ValueError(f"give one of {list(SCALES)}, and a scale above 0; this is {answer!r}")
        attacked = Attacked(study, task, seed, scaled_submission(study.planner, task, seed, what, float(scale)))
        study.train(attacked.submitted.recipes)
        merged, alone, clean = attacked.score(attacked.merged("weight_average")), attacked.worst, attacked.floor
        passes = merged.asr > 0.9 and alone.cacc >= clean.cacc - 2 * TOLERANCE and attacked.norm_ratio <= LONGEST
        facts = f"the submitted model has CACC {alone.cacc:.1%}, and a vector {attacked.norm_ratio:.1f} times as long as others"
        return f"scored: after the average {rates(merged, clean)}; {facts}; this {is_enough(passes)}"

    return attempted(answer, scored)
