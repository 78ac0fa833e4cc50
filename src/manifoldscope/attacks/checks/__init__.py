"""Is this evaluation to be trusted? Each check is a row with its evidence.

The rules follow Carlini et al. 2019, "On evaluating adversarial robustness", and Pintor et al. 2022, "Indicators of
attack failure". A failed check does not stop anything: it is shown beside the result that it puts in doubt.
"""

from manifoldscope.attacks.checks.chance import Chance, chance
from manifoldscope.attacks.checks.channels import channel_order_checks
from manifoldscope.attacks.checks.expected import Expected, autoattack_check, clean_check
from manifoldscope.attacks.checks.minimal import minimal_checks
from manifoldscope.attacks.checks.network import network_checks
from manifoldscope.attacks.checks.normalisation import normalisation_checks
from manifoldscope.attacks.checks.outcomes import outcome_checks
from manifoldscope.attacks.checks.row import Row, check, share_interval
from manifoldscope.attacks.checks.runs import failures_check, fast_path_check, feasibility, feasibility_check
from manifoldscope.attacks.checks.training import Evaluated, collapse_check, training_check

__all__ = [
    "Chance",
    "Evaluated",
    "Expected",
    "Row",
    "autoattack_check",
    "chance",
    "channel_order_checks",
    "check",
    "clean_check",
    "collapse_check",
    "failures_check",
    "fast_path_check",
    "feasibility",
    "feasibility_check",
    "minimal_checks",
    "network_checks",
    "normalisation_checks",
    "outcome_checks",
    "share_interval",
    "training_check",
]
