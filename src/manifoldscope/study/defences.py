"""The part of a study file that defends a network: which defence, its settings, and whether it fits the training."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.study.section import OpenSection, entry_of, setting, settle
from manifoldscope.training.objectives import OBJECTIVES
from manifoldscope.vision.defences import DEFENCES, Defence
from manifoldscope.vision.network import Network


class DefencePlan(OpenSection):
    """What stands in front of a network or around it; the defence's own settings stand beside these."""

    name: str = setting(..., "a defence by name: see `manifoldscope list defences`", keyed=True)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, raw: Any) -> Any:
        return {"name": raw} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _check(self) -> DefencePlan:
        settle(self, entry_of(DEFENCES, self.name))
        try:
            self.made()
        except ManifoldscopeError as error:
            raise ValueError(str(error)) from None
        return self

    def made(self) -> Defence:
        """The defence with its settings."""
        defence: Defence = DEFENCES[self.name].target(**self.settings)
        return defence

    @property
    def identity(self) -> dict[str, Any]:
        """What a key holds of it."""
        version = DEFENCES[self.name].version
        return {"name": self.name, **self.settings} | ({"version": version} if version != 1 else {})


def check_defence(defence: DefencePlan | None, objective: str | None, *, model: str) -> None:
    """Refuse what can only fail later.

    Args:
        objective: what the network is trained for here; None where it is loaded.
        model: the name of the network.

    Raises:
        ValueError: a defence that has to be trained, in front of a network that is not; or an objective for another
            defence.
    """
    if defence is not None and objective is None and DEFENCES[defence.name].traits.get("learned"):
        raise ValueError(
            f"model {model!r}: the defence {defence.name!r} has weights of its own, which are trained together with "
            "the network; give it a table [models.training] instead of weights"
        )
    needed = None if objective is None else OBJECTIVES[objective].traits.get("defence")
    if needed is not None and (defence is None or defence.name != needed):
        raise ValueError(
            f"model {model!r}: the objective {objective!r} trains a {needed}; give the network defence = {needed!r}"
        )


def defended(network: Network, defence: DefencePlan | None, *, seed: int) -> Network:
    """The network with its defence, whose first weights are drawn by `seed`; as it is where it has none."""
    return network if defence is None else defence.made().around(network, seed=seed)
