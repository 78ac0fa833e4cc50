"""Projection: a network in whose layer a subspace is projected out, or kept alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from manifoldscope.errors import ModelError
from manifoldscope.geometry.subspace import Keep, change
from manifoldscope.vision.hooks import Tap, captured, resolve, unwrapped
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.network import Network, as_network
from manifoldscope.vision.positions import pooled

_ORTHONORMAL = 1e-4
"""By how much an inner product of two directions in float32 may differ from 0 or 1."""


def with_projection(
    network: Network | nn.Module,
    layer: str | Layer,
    basis: Tensor,
    centre: Tensor,
    *,
    keep: Keep = "without",
    scale: float = 1.0,
    pixels_shape: Sequence[int] | None = None,
) -> Network:
    """The network with the activations of one layer projected, at every pass and with gradients through it.

    With Q' the rows of `basis` and mu the `centre`, an activation a becomes

        a + s (P(a) - a),  P(a) = mu + (I - QQ')(a - mu)  "without" the subspace,
                           P(a) = mu + QQ'(a - mu)        with the subspace "only",

    where the scale s is 1 for the projection itself.

    What is projected are the points that `activations` gives of the layer. A flattened layer is projected as a whole.
    Of a layer of which one position is taken, such as the class token, that position alone changes. Where the mean
    over positions is taken, all of these positions are shifted alike, by what the mean changes: of all changes with
    that mean the smallest. Where each position is a point, each is projected. The maximum over positions is refused.
    In the blocks of a transformer the other tokens keep what they know, and later blocks may give it back.

    Args:
        network: shares its weights with what is returned, and is itself not changed: no hook stays on it.
        layer: as for `activations`. Of a module that is called several times the call that is measured is changed.
        basis: (k, n_features) orthonormal directions; k = 0 changes nothing "without", and leaves mu "only".
        centre: (n_features,).
        pixels_shape: (channels, height, width) of the images; the network's crop if omitted.

    Returns:
        A network under the same name, whose layers are called `module.NAME`. What it gives in the layer is what is
        left after the projection.

    Raises:
        ModelError: a layer that does not exist, is not executed, or of which the maximum is taken; directions that are
            not orthonormal or have another number of features; no shape where the network has no crop.

    Example:
        >>> module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> without = with_projection(module, "penultimate", torch.eye(4)[:1], torch.zeros(4), pixels_shape=(1, 2, 2))
        >>> pixels = torch.rand(5, 1, 2, 2)
        >>> darker = pixels * torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        >>> torch.allclose(without(pixels), module(darker), atol=1e-6)
        True
    """
    network, asked = unwrapped(as_network(network)), Layer.of(layer)
    where = f"{network.name}: layer {str(asked)!r}"
    if keep not in ("without", "only"):
        raise ModelError(f"keep = {keep!r}; expected 'without' or 'only'")
    if asked.pool == "max":
        raise ModelError(f"{where} cannot be projected: the maximum over positions is no linear function of them")
    if pixels_shape is None:
        crop = network.preprocessing.crop
        if crop is None:
            raise ModelError(f"{network.name} takes images of any size; give pixels_shape, (channels, height, width)")
        pixels_shape = network.shape(crop)
    probe = torch.full((1, *pixels_shape), 0.5)
    (tap,) = resolve(network, [asked], probe)
    ((_, points),) = captured(network, [tap], probe)
    n_features = points.shape[1]
    if basis.ndim != 2 or basis.shape[1] != n_features or centre.shape != (n_features,):
        raise ModelError(
            f"{where} has {n_features} features, and basis and centre have shapes {tuple(basis.shape)} and "
            f"{tuple(centre.shape)}; expected (k, {n_features}) and ({n_features},)"
        )
    products = basis.detach().double().cpu()
    error = (products @ products.T - torch.eye(len(basis), dtype=torch.float64)).abs()
    if error.numel() and not float(error.max()) <= _ORTHONORMAL:
        raise ModelError(
            f"{where}: the directions are not orthonormal, by {float(error.max()):.2g}; give "
            "torch.linalg.qr(basis.T).Q.T"
        )
    if tap.call is None:
        tap.call = tap.calls - 1  # the last one is measured
    return replace(network, module=_Projected(network.module, tap, basis, centre, keep, scale).to(network.device))


class _Projected(nn.Module):
    """A module, in a layer of which activations are changed; its hook is there during a pass alone."""

    basis: Tensor
    centre: Tensor

    def __init__(self, module: nn.Module, tap: Tap, basis: Tensor, centre: Tensor, keep: Keep, scale: float) -> None:
        super().__init__()
        self.training = module.training
        self.module = module
        names = {child: name for name, child in module.named_modules(remove_duplicate=False)}
        self._target = names[tap.module]  # by name, so that a copy hooks its own
        self._tap = replace(tap, module=nn.Identity(), heard=None)
        self._keep, self._scale = keep, scale
        self.register_buffer("basis", basis.detach().float(), persistent=False)
        self.register_buffer("centre", centre.detach().float(), persistent=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives where the layer is changed."""
        calls, changed = 0, False

        def at_last(value: Any) -> Any:
            nonlocal calls, changed
            calls += 1
            if calls - 1 != self._tap.call:
                return value
            found, changed = self._replaced(value)
            return found

        target = self.module.get_submodule(self._target)
        # Before other hooks, so that whoever listens to the layer hears what is left of it.
        if self._tap.of_input:
            handle = target.register_forward_pre_hook(
                lambda _, given, named: at_last((given, named)), with_kwargs=True, prepend=True
            )
        else:
            handle = target.register_forward_hook(lambda _, given, output: at_last(output), prepend=True)
        try:
            output = self.module(*args, **kwargs)
        finally:
            handle.remove()
        if not changed:
            raise ModelError(f"layer {str(self._tap.layer)!r} gave nothing to project for these images")
        return output

    def _replaced(self, value: Any) -> tuple[Any, bool]:
        """The value with its first tensor changed, and whether it has one."""
        if isinstance(value, Tensor):
            return self._moved(value), True
        if isinstance(value, dict):
            items, changed = self._replaced(list(value.values()))
            return type(value)(zip(value, items, strict=True)), changed
        if isinstance(value, tuple | list):
            items = list(value)
            for place, item in enumerate(items):
                items[place], changed = self._replaced(item)
                if changed:
                    make = cast("Callable[..., Any]", getattr(type(value), "_make", type(value)))  # of a named tuple
                    return make(items), True
        return value, False

    def _moved(self, output: Tensor) -> Tensor:
        """The output of the layer, (n, ...), whose points are projected."""
        tap = self._tap
        points, pool = pooled(
            output, tap.layer, channels_last=tap.channels_last, prefix=tap.prefix, default=tap.default
        )
        dtype = torch.promote_types(points.dtype, self.basis.dtype)  # half precision would lose the directions
        basis, centre = (each.to(points.device, dtype) for each in (self.basis, self.centre))
        added = (self._scale * change(points.to(dtype), basis, centre, keep=self._keep)).to(output.dtype)
        if pool in ("", "flatten"):
            return output + added.reshape(output.shape)
        last = bool(tap.channels_last)
        where = 1 if last else 2
        positions = output.flatten(1, -2) if last else output.flatten(2)
        if pool == "positions":
            return (positions + (added if last else added.transpose(1, 2))).reshape(output.shape)
        n = positions.shape[where]
        n_before = tap.prefix.among(n) if output.ndim == 3 and last else 0
        several = {"mean": (0, n), "patch_tokens_mean": (n_before, n - n_before)}
        first, many = several.get(pool) or (0 if pool == "class_token" else int(pool), 1)
        moved = positions.clone()
        moved.narrow(where, first, many).add_(added.unsqueeze(where))
        return moved.reshape(output.shape)
