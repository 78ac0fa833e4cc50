"""Layer: where a network is listened to, and how the positions that answer there become points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from manifoldscope.errors import ModelError, unknown

PENULTIMATE = "penultimate"
"""The layer that the classifier reads: the input of the last linear layer that is executed; where a network executes
none, the input of its last convolution, averaged over space. Of several heads whose logits are averaged, what the first
reads; see `hooks.penultimate`."""

NamedPool: TypeAlias = Literal["flatten", "mean", "max", "class_token", "patch_tokens_mean", "positions"]
Pool: TypeAlias = NamedPool | int

ALL = "all"
"""Every layer that is worth measuring, in the order of execution: see `depth.expanded`."""

POOLS: tuple[str, ...] = get_args(NamedPool)


@dataclass(frozen=True)
class Layer:
    """A layer by name, and how its positions become points.

    The positions of an output are the pixels of a map, (n, channels, height, width) or (n, height, width, channels),
    or the tokens of a transformer, (n, tokens, channels).

    Attributes:
        name: of a module, as `layer_table` lists them, or "penultimate".
        pool: "flatten", every position and channel is a feature; "mean" or "max" over all positions; "class_token";
            "patch_tokens_mean", the mean over all tokens but the class token and registers; "positions", each position
            of each image is a point of its own; or the index of one position, from 0, row by row. None takes the
            default: a map is flattened, as in the original study; of tokens, the class token is taken, where there is
            one, and else the mean of the patch tokens. `ClassManifold.pool` says which it was.

    Raises:
        ModelError: no name, or no such way to pool.

    Example:
        >>> str(Layer("blocks.5", "class_token")), Layer.of("blocks.5 [3]").pool, Layer("blocks.5").json
        ('blocks.5 [class_token]', 3, 'blocks.5')
    """

    name: str
    pool: Pool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ModelError(f"a layer is called {self.name!r}; expected the name of a module, or {PENULTIMATE!r}")
        if self.pool is None or (type(self.pool) is int and self.pool >= 0):
            return
        if self.pool not in POOLS or isinstance(self.pool, bool):
            raise ModelError(
                f"layer {self.name!r}: {unknown('pool', str(self.pool), POOLS)} (a number is the index of a position, "
                "from 0)"
            )

    def __str__(self) -> str:
        return self.name if self.pool is None else f"{self.name} [{self.pool}]"

    @property
    def json(self) -> str | dict[str, str | int]:
        """Its one form in JSON: the name alone, or name and pool."""
        return self.name if self.pool is None else {"name": self.name, "pool": self.pool}

    @classmethod
    def of(cls, layer: Layer | str | Mapping[str, Any]) -> Layer:
        """A layer from any of its forms: itself, "blocks.5", "blocks.5 [class_token]", {"name": ..., "pool": ...}.

        Raises:
            ModelError: another form, or as for `Layer`.
        """
        if isinstance(layer, Layer):
            return layer
        if isinstance(layer, str):
            # without a space only where no pattern can be meant: "layer[12]" has a set of characters
            parts = re.fullmatch(rf"(.+) \[([^\[\]]+)\]|(.+)\[({'|'.join(POOLS)})\]", layer)
            if parts is None:
                return cls(layer)
            pool: Any
            name, pool = (part for part in parts.groups() if part is not None)
            return cls(name, int(pool) if pool.isdecimal() else pool)
        if isinstance(layer, Mapping) and "name" in layer and set(layer) <= {"name", "pool"}:
            return cls(layer["name"], layer.get("pool"))
        raise ModelError(f"{layer!r} is no layer; expected a name, or a table with name and pool")

    @property
    def is_pattern(self) -> bool:
        """Whether it names layers by a pattern, "all" or "blocks.*", which a network has to expand.

        Example:
            >>> [Layer.of(layer).is_pattern for layer in ("all", "blocks.* [mean]", "blocks.5 [mean]")]
            [True, True, False]
        """
        return self.name == ALL or any(character in self.name for character in "*?[")


def listed(layers: Any) -> Any:
    """Layers as a list, as a study file may give them: "all" alone stands for ["all"]; all else is left as it is.

    Example:
        >>> listed("all"), listed("all [mean]"), listed(["conv1"]), listed("conv1")
        (['all'], ['all [mean]'], ['conv1'], 'conv1')
    """
    return [layers] if isinstance(layers, str) and re.fullmatch(rf"{ALL}( ?\[[^\[\]]+\])?", layers) else layers


def layers_of(layers: Sequence[Layer | str | Mapping[str, Any]]) -> list[Layer]:
    """Several layers, each from any of its forms.

    Raises:
        ModelError: no list, an empty one, or one that has a layer twice.
    """
    if isinstance(layers, str | Layer | Mapping):
        raise ModelError(f"layers = {str(layers)!r}: expected a list of names, such as [{str(layers)!r}]")
    if not isinstance(layers, Iterable):
        raise ModelError(f"layers = {layers!r}: expected a list of names, such as [{PENULTIMATE!r}]")
    found = [Layer.of(layer) for layer in layers]
    if not found:
        raise ModelError(f"no layer was asked for; try {PENULTIMATE!r}")
    if len(set(found)) < len(found):
        repeated = next(layer for layer in found if found.count(layer) > 1)
        raise ModelError(f"layer {str(repeated)!r} is listed twice")
    return found
