"""The gradient by the pixels; and of a network that has none, an error that says what to do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manifoldscope.errors import ManifoldscopeError, ModelError
from manifoldscope.vision.batching import out_of_memory

WITHOUT_GRADIENTS = ("noise", "square", "rotation", "translation")
"""The attacks that need no gradient, for the sentence that says so; a test holds it against their registry."""

_WITHOUT = f"the attacks that need no gradient: {', '.join(WITHOUT_GRADIENTS)} and the corruptions"


class NoGradientError(ModelError):
    """A network gives logits without a gradient, or its backward pass fails, and somebody asks for it."""


def pixel_gradient(name: str, value: Tensor, pixels: Tensor) -> Tensor:
    """The gradient of a value, which a network's logits gave, by the pixels that gave the logits; like the pixels.

    Args:
        name: what the network is called in messages.

    Raises:
        NoGradientError: nothing leads from the value back to the pixels, or what does fails.
    """
    try:
        (gradient,) = torch.autograd.grad(value, pixels, allow_unused=True)
    except ManifoldscopeError:
        raise
    except Exception as error:  # whatever a stranger's module does on the way back
        if out_of_memory(error):
            raise
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise NoGradientError(
            f"the backward pass of {name} fails ({told}). Give what it calls a derivative, or keep to {_WITHOUT}"
        ) from error
    if gradient is None:
        raise _no_gradient(name)
    return gradient


def refusing(logits: Tensor, pixels: Tensor, name: str) -> Tensor:
    """The same logits, whose gradient by the pixels, once it is asked for, is a NoGradientError."""
    refused: Tensor = _Refusing.apply(logits, pixels, name)
    return refused


class _Refusing(torch.autograd.Function):
    """See `refusing`; gradients of layers before the logits are not asked here."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, _pixels: Tensor, name: str) -> Tensor:
        ctx.name = name
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise _no_gradient(ctx.name)


def _no_gradient(name: str) -> NoGradientError:
    return NoGradientError(
        f"{name} gives logits without a gradient: its forward runs under torch.no_grad or torch.inference_mode, or "
        f"detaches something. Take that out, or keep to {_WITHOUT}"
    )
