"""The figures, one file per chapter under the name of its table: a tidy table in, a matplotlib figure out.

May import: `metrics`. Figures see tables of numbers, never a study.
"""

from lib.plots.answer import plot_answer
from lib.plots.architectures import plot_architectures, plot_heads
from lib.plots.attacks import plot_attacks, plot_loss_curves
from lib.plots.coefficient import plot_barrier, plot_coefficient, plot_task_arithmetic
from lib.plots.collusion import attack_matrix, plot_backdoored, plot_collusion
from lib.plots.deciding import plot_deciding, plot_partner_strength
from lib.plots.defenses import plot_defenses, plot_defenses_by_attack
from lib.plots.distillation import plot_students, plot_ways
from lib.plots.domains import plot_domains, plot_partner_kinds
from lib.plots.epochs import plot_epochs
from lib.plots.headline import plot_headline
from lib.plots.limits import limits_matrix, plot_composition, plot_detection, plot_limits, plot_scaling
from lib.plots.merging import plot_four_models, plot_merging, plot_merging_by_attack
from lib.plots.methods import plot_methods, plot_sweeps
from lib.plots.plane import plot_plane
from lib.plots.poisoning_rate import plot_poisoning_rates
from lib.plots.stealth import plot_stealth
from lib.plots.story import plot_story
from lib.plots.style import Subject, attack_title, task_title
from lib.plots.tasks import plot_transfer
from lib.plots.why import plot_certificates, plot_collapse, plot_margins, plot_strength
from lib.plots.why_inside import plot_hidden, plot_modules, plot_rank, plot_states, plot_triangle

__all__ = [
    "Subject",
    "attack_matrix",
    "attack_title",
    "limits_matrix",
    "plot_answer",
    "plot_architectures",
    "plot_attacks",
    "plot_backdoored",
    "plot_barrier",
    "plot_certificates",
    "plot_coefficient",
    "plot_collapse",
    "plot_collusion",
    "plot_composition",
    "plot_deciding",
    "plot_defenses",
    "plot_defenses_by_attack",
    "plot_detection",
    "plot_domains",
    "plot_epochs",
    "plot_four_models",
    "plot_headline",
    "plot_heads",
    "plot_hidden",
    "plot_limits",
    "plot_loss_curves",
    "plot_margins",
    "plot_merging",
    "plot_merging_by_attack",
    "plot_methods",
    "plot_modules",
    "plot_partner_kinds",
    "plot_partner_strength",
    "plot_plane",
    "plot_poisoning_rates",
    "plot_rank",
    "plot_scaling",
    "plot_states",
    "plot_stealth",
    "plot_story",
    "plot_strength",
    "plot_students",
    "plot_sweeps",
    "plot_task_arithmetic",
    "plot_transfer",
    "plot_triangle",
    "plot_ways",
    "task_title",
]
