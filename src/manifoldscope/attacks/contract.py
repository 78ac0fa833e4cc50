"""What the engine holds an attack to, whoever wrote it: states of a row an image, and rows that it only reads."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldscope.attacks.perturbation import TENSORS, Perturbation, Rows, State
from manifoldscope.errors import AttackError


def checked_state(perturbation: Perturbation, rows: Rows, state: State, before: State | None = None) -> State:
    """The state that an attack gave of these rows, when they begin, or in a step from the state before.

    Raises:
        AttackError: it has not a row for each image, images of another shape, type or device, or other names than
            before; or the attack wrote into the rows: budgets are checked around the clean images, and labels say what
            is misclassified.
    """
    shapes = (
        {name: tuple(getattr(each, "shape", ())) for name, each in state.items()} if isinstance(state, dict) else {}
    )
    images = tuple(rows.clean.shape)
    if {shape[:1] for shape in shapes.values()} != {images[:1]} or shapes.get("images") != images:
        raise AttackError(
            f"{perturbation.kind} gave a state of the shapes {shapes}; expected tensors with a row for each image, of "
            f"which 'images' is {images}"
        )
    shown = state["images"]
    if shown.dtype not in (torch.float32, torch.float64) or shown.device != rows.clean.device:
        raise AttackError(  # others would round pixels by more than the budget's tolerance
            f"{perturbation.kind} gave images of type {shown.dtype} on {shown.device}; expected pixels in [0, 1], "
            f"float32 or float64, on {rows.clean.device}"
        )
    if before is not None and before.keys() != state.keys():
        raise AttackError(
            f"{perturbation.kind} began with the state {', '.join(before)}, and a step gave {', '.join(state)}; "
            "expected the same names"
        )
    for name in TENSORS:
        if getattr(rows, name)._version:  # counts what was done to a tensor in place, through whatever name
            what = "clean images" if name == "clean" else name
            raise AttackError(
                f"{perturbation.kind} changed the {what} in place, by which it is judged; begin with "
                f"rows.{name}.clone(), or take no step in place"
            )
    return state


def one_each(
    perturbation: Perturbation, method: str, found: object, n: int, *, truths: bool, gradient: bool = False
) -> Tensor:
    """What a method of an attack said of n images.

    Raises:
        AttackError: it is not one number, or one truth, for each; or has no gradient where one is wanted.
    """
    if isinstance(found, Tensor) and found.shape == (n,):
        if gradient and found.is_floating_point() and not found.requires_grad:
            raise AttackError(
                f"{method} of {perturbation.kind} gave numbers without a gradient; expected them to be computed from "
                "the logits, with nothing detached"
            )
        if found.dtype == torch.bool if truths else found.is_floating_point():
            return found
    kind = "truth" if truths else "number"
    raise AttackError(
        f"{method} of {perturbation.kind} gave {told(found)}; expected one {kind} for each of {n} images, ({n},)"
    )


def told(value: object) -> str:
    """What a value is that should have been another tensor, for a message."""
    return f"shape {tuple(value.shape)} and type {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
