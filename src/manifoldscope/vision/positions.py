"""Positions of an output, such as pixels of a map or tokens: which dimension they are, and how they become points."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from manifoldscope.errors import ModelError
from manifoldscope.vision.layers import Layer


@dataclass(frozen=True)
class Prefix:
    """The tokens that stand before those of the patches: class token, distillation token, registers.

    Attributes:
        n_tokens: how many; 0 where a network has none.
        class_token: whether the first of them is a class token.
        maps: numbers of positions of the maps that convolutions of this network give.
        most: the largest number of tokens of any of its layers.
    """

    n_tokens: int = 0
    class_token: bool = False
    maps: frozenset[int] = frozenset()
    most: int = 0

    def among(self, n_positions: int) -> int:
        """How many of so many tokens are of the prefix: a layer before it is put on has as many as a map has pixels."""
        if n_positions - self.n_tokens in self.maps:
            return self.n_tokens
        return self.n_tokens if n_positions == self.most and n_positions not in self.maps else 0


NO_PREFIX = Prefix()


def pooled(
    output: Tensor, layer: Layer, *, channels_last: bool | None, prefix: Prefix = NO_PREFIX, default: str = ""
) -> tuple[Tensor, str]:
    """The points of an output, and how they were made of its positions ("" where it has none).

    Args:
        output: (n, n_features); or (n, channels, ...), or (n, ..., channels), with the positions in the dots.
        layer: what was asked for.
        channels_last: which of the two it is; None where that is not clear.
        prefix: what stands before the tokens of the patches, in an output (n, tokens, channels).
        default: what to do where nothing was asked for; by the shape if empty.

    Returns:
        (n, n_features); or (n, positions, channels) where each position is a point.

    Raises:
        ModelError: it has no such positions, or it is not clear which dimension they are.
    """
    asked = layer.pool
    shape = f"shape {tuple(output.shape)}"
    if output.ndim < 3:
        if asked not in (None, "flatten"):
            raise ModelError(f"layer {str(layer)!r} gives {shape}, without positions; ask for {layer.name!r} alone")
        return output.reshape(len(output), -1), ""
    if asked == "flatten" or (channels_last is None and asked is None and output.ndim > 3):
        return output.flatten(1), "flatten"
    if channels_last is None:
        raise ModelError(
            f"layer {str(layer)!r} gives {shape}, where modules of the same shape disagree on which dimension are the "
            "channels; ask for it flattened, or for a module inside of it"
        )
    where = 1 if channels_last else 2
    positions = output.flatten(1, -2) if channels_last else output.flatten(2)
    n_positions = positions.shape[where]
    tokens = output.ndim == 3 and channels_last
    n_before = prefix.among(n_positions) if tokens else 0
    class_token = n_before > 0 and prefix.class_token
    by_shape = (
        "flatten" if not tokens else "class_token" if class_token else "patch_tokens_mean" if n_before else "mean"
    )
    pool = asked if asked is not None else default or by_shape
    match pool:
        case "mean":
            points = positions.mean(dim=where)
        case "max":
            points = positions.amax(dim=where)
        case "class_token" if class_token:
            points = positions.select(where, 0)
        case "class_token":
            raise ModelError(
                f"layer {str(layer)!r} gives {shape}, without a class token; ask for the mean, or for a later layer"
            )
        case "patch_tokens_mean":
            points = positions.narrow(where, n_before, n_positions - n_before).mean(dim=where)
        case "positions":
            points = positions if channels_last else positions.transpose(1, 2)
        case int() if pool < n_positions:
            points = positions.select(where, pool)
        case int():
            raise ModelError(f"layer {str(layer)!r} gives {shape}: it has {n_positions} positions, counted from 0")
        case _:
            points = output.flatten(1)
    return points, str(pool)


def channels_last(module: nn.Module, shape: tuple[int, ...]) -> bool | None:
    """Whether the channels of a module's output are its last dimension; None where its type does not tell."""
    if len(shape) < 3:
        return None
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) == 1:
        (width,) = module.normalized_shape
        if shape[1] == shape[-1] == width:
            return "2d" not in type(module).__name__.lower()  # timm's and torchvision's LayerNorm2d
        return shape[-1] == width
    if isinstance(module, _ConvNd | _NormBase | nn.GroupNorm):
        return False
    permuted = getattr(module, "dims", None)  # by torchvision's Permute
    return {"[0, 2, 3, 1]": True, "[0, 3, 1, 2]": False}.get(str(permuted))
