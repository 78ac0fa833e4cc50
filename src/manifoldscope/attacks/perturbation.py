"""Perturbation: what may be done to an image, at one strength; and the registries of attacks and corruptions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from torch import Tensor

from manifoldscope.attacks.target import Target
from manifoldscope.errors import StudyError, unknown
from manifoldscope.registry import Entry, Registry
from manifoldscope.tables import parameters_text

ATTACKS = Registry("attack", package="manifoldscope.attacks")
"""Every attack: a frozen dataclass derived from `Perturbation`, whose fields are its settings."""
CORRUPTIONS = Registry("corruption", package="manifoldscope.attacks.corruptions")
"""Every common corruption, likewise: it knows nothing of the network."""


class Perturbation(ABC):
    """What may be done to an image, at one strength.

    A subclass is a frozen, keyword-only dataclass that names its strength, proposes images, and bounds its budget.
    """

    kind: ClassVar[str]
    """The registered name."""
    strength_setting: ClassVar[str]
    """The field that a study sweeps ("epsilon"); its plural with an s is the study file's key for a list of values."""
    iterative: ClassVar[bool]
    """Whether it has iterates, so that "last" and "any" can differ."""
    nested: ClassVar[bool] = False
    """Whether what a smaller strength allows, a larger one allows as well."""
    rolling: ClassVar[bool] = False
    """Whether it lets images come as others leave (`Target.admit`); otherwise it is given some batches at a time."""
    ordered: ClassVar[bool] = True
    """Whether a larger strength is meant to misclassify more images."""
    norm: str | None = None
    """Of the ball that holds what it makes: "linf" or "l2"; None for what is no ball."""

    @property
    def strength(self) -> float:
        """The swept value."""
        return float(getattr(self, self.strength_setting))

    @property
    def parameters(self) -> str:
        """What else defines it, as canonical text."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # a dataclass
        return parameters_text({k: v for k, v in settings.items() if k != self.strength_setting})

    @property
    def n_steps(self) -> int | None:
        """Gradient steps of one run; None for what is not told by their number."""
        return None

    @property
    def targeted(self) -> bool:
        """Whether it aims at a class of its choice, and not just away from the label."""
        return False

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and gradient passes an image costs at most, beside the clean one: what a forecast needs."""
        return (1, 0)

    @property
    def asks_gradients(self) -> bool:
        """Whether it asks the network for gradients."""
        return self.passes[1] > 0

    @abstractmethod
    def perturb(self, target: Target) -> None:
        """Attack the images of `target`, showing it each iterate, and the last one through `target.conclude`.

        Random numbers come from `target.generators`, one stream per image.
        """

    @abstractmethod
    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        """(n,) by how much each perturbed image exceeds the budget, in the budget's unit; at most 0 within it."""


def make(kind: str, settings: Mapping[str, Any]) -> Perturbation:
    """The attack or corruption `kind` with these settings; the errors name what is wrong."""
    entry = registered(kind)
    perturbation: Perturbation = entry.target(**entry.validate(settings, where=kind))
    return perturbation


def registered(kind: str) -> Entry:
    """The attack or corruption of this name. Raises StudyError where there is none."""
    for registry in (CORRUPTIONS, ATTACKS):
        if kind in registry.names():
            return registry[kind]
    raise StudyError(unknown("attack or corruption", kind, [*ATTACKS.names(), *CORRUPTIONS.names()]))
