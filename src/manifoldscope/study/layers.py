"""The layers that a study measures in a network: patterns become names before units are planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from manifoldscope.errors import ModelError
from manifoldscope.study.networks import made
from manifoldscope.vision.depth import expanded
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.layers import Layer

if TYPE_CHECKING:
    from manifoldscope.study.planning import PlannedNetwork


def measured_layers(planned: PlannedNetwork, asked: Sequence[str], images: ImageSet) -> tuple[str, ...]:
    """The layers by name, as tables and keys have them.

    Only where there is a pattern, the network is made, as its source makes it and with its weights, and looks at two
    images; it is not kept.

    Raises:
        ModelError: the network cannot be made or its weights cannot be loaded, or a pattern matches nothing.
    """
    if not any(Layer.of(layer).is_pattern for layer in asked):
        return tuple(asked)
    network = made(planned)
    pixels = network.pixels(images, slice(0, 2))
    try:
        return tuple(map(str, expanded(network, asked, pixels)))
    except ModelError as error:
        raise ModelError(f"{error}; its table [[models]] may have `layers` of its own") from None
