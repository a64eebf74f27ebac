"""What notebook parameters such as "all" or "sst2, olid" stand for."""

from __future__ import annotations

from collections.abc import Sequence

from lib.attacks import ATTACKS, SPECIAL, check_attack
from lib.defenses import DEFENSES, get_defense
from lib.defenses import SPECIAL as SPECIAL_DEFENSES
from lib.study.planning import Planner
from lib.study.study import Study


def chosen_attacks(attack: str) -> list[str]:
    """The attacks a notebook parameter names: "all" but those of one notebook alone, or names separated by commas.

    >>> chosen_attacks("insertsent")
    ['insertsent']
    """
    usual = [name for name in ATTACKS if name not in SPECIAL]
    return usual if attack == "all" else [check_attack(name.strip()) for name in attack.split(",")]


def chosen_defenses(defense: str) -> list[str]:
    """The defenses a notebook parameter names: names separated by commas, or "all" that need no published scores.

    "all" leaves out those of notebook 15 alone, too.

    Raises:
        ValueError: for a name that is no defense, or without "average", with which the others are compared: it is better said
            before the first training than after the last one.

    >>> chosen_defenses("onion, average")
    ['onion', 'average']
    """
    usual = [n for n, each in DEFENSES.items() if not each.takes("published_scores") and n not in SPECIAL_DEFENSES]
    names = usual if defense == "all" else [name.strip() for name in defense.split(",")]
    for name in names:
        get_defense(name)  # raises for a name that is no defense
    if "average" not in names:
        raise ValueError(f"defense is {defense!r}; 'average' must be among them, for the others are compared with it")
    return names


def chosen_tasks(study: Study | Planner, task: str) -> list[str]:
    """The tasks a notebook parameter names: "all" of the profile's, or names separated by commas."""
    names = list(study.profile.tasks) if task == "all" else [name.strip() for name in task.split(",")]
    for name in names:
        study.other_domains(name)  # raises for a name that is no task
    return names


def attacks_on(task: str, attacks: Sequence[str], skip: str) -> list[str]:
    """The attacks without those that a notebook parameter leaves out for a task: pairs "task/attack", separated by commas.

    >>> attacks_on("sst2", ["badnet", "bite"], "sst2/bite, olid/badnet")
    ['badnet']
    """
    skipped = {pair.strip() for pair in skip.split(",") if pair.strip()}
    for pair in skipped:
        if pair.count("/") != 1:
            raise ValueError(f"skip has {pair!r}; give pairs such as sst2/bite, separated by commas")
        check_attack(pair.split("/")[1])
    return [attack for attack in attacks if f"{task}/{attack}" not in skipped]
