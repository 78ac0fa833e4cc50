"""A planned network, made: from its source, with its weights and its defence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from manifoldscope.errors import ModelError
from manifoldscope.study.defences import defended
from manifoldscope.vision.network import Network
from manifoldscope.vision.sources import network as make_network
from manifoldscope.vision.usercode import code_digest

if TYPE_CHECKING:
    from manifoldscope.study.planning import PlannedNetwork


def made(planned: PlannedNetwork, *, seed: int | None = None) -> Network:
    """The network as its source makes it, with its defence, under its name; without the checkpoint of its training.

    Args:
        seed: of its first weights; the source's own if omitted.

    Raises:
        ModelError: it cannot be made, its weights cannot be loaded, or its files changed since it was planned.
    """
    settings = {**planned.plan.settings, **planned.build}
    if seed is not None:
        settings["seed"] = seed
    try:
        network = make_network(planned.plan.source, **settings)
    except ModelError as error:  # of many networks, it has to be said which
        said = str(error)
        raise ModelError(said if said.startswith(f"{planned.name}:") else f"{planned.name}: {said}") from None
    network = replace(network, name=planned.name)
    _require_planned(planned, network)
    return defended(network, planned.plan.defence, seed=seed or 0)


def _require_planned(planned: PlannedNetwork, network: Network) -> None:
    """Refuse a network whose files are not those that the study was planned with: its results would bear their key.

    Raises:
        ModelError: a file of weights or of code was replaced meanwhile.
    """
    found: dict[str, Any] = {"weights": network.provenance.get("weights_sha256")}
    if "code" in planned.identity:
        found["code"] = code_digest(planned.plan.source.removeprefix("python:"))
    for what, digest in found.items():
        if digest is not None and digest != planned.identity.get(what):
            raise ModelError(
                f"the {what} of {planned.name} changed after the study was planned; nothing was stored of what the new "
                "file gives: run the study again"
            )
