"""A plan and its results."""

from manifoldscope.study.loading import load, preset_names, preset_text
from manifoldscope.study.plan import Study
from manifoldscope.study.run import run_units
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit

__all__ = ["Payload", "Store", "Study", "Unit", "load", "preset_names", "preset_text", "run_units"]
