"""Random search with squares, which needs no gradient (Andriushchenko et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.apgd import at_least_one
from manifoldscope.attacks.ball import Norm, check_radius, distance, drawn, per_image, projected
from manifoldscope.attacks.losses import LOSSES
from manifoldscope.attacks.perturbation import ATTACKS, Outcome, Perturbation, Rows, Seen, State
from manifoldscope.errors import AttackError

SHARE = 0.8
"""Share of the image that the first squares cover."""

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which that share is halved."""

BLOCK = 64
"""Queries of an image for which random numbers are drawn at a time: a call for each would cost more than the search."""

TILES = 5
"""Rows and columns of tiles at the start in the L2 ball."""


@ATTACKS.register("square", version=2)
@dataclass(frozen=True, kw_only=True)
class Square(Perturbation):
    """Random search with squares, which needs no gradient (Andriushchenko et al. 2020, Algorithms 1 to 3).

    What it misclassifies and a gradient attack does not is a sign that gradients are masked.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        queries: forward passes of a run, at least 1.
        restarts: runs that an image must be robust to.
        rescale_schedule: False shrinks the squares as AutoAttack does, by the number of the query, as if there were
            10,000; True by the share of `queries` that is used up, which is better where they are few.

    Raises:
        AttackError: an impossible value; images that an L2 square does not fit.
    """

    kind: ClassVar[str] = "square"
    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[Outcome] = "any"

    epsilon: float
    norm: Norm = "linf"
    queries: int = 5000
    restarts: int = 1
    rescale_schedule: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        at_least_one(queries=self.queries, restarts=self.restarts)

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts * self.queries, 0)

    def n_runs(self, n_classes: int) -> int:
        return self.restarts

    def refuse(self, shape: torch.Size, n_classes: int) -> None:
        height, width = shape[-2:]
        if self.norm == "l2" and (height < TILES or height != width):
            raise AttackError(
                f"{self.kind} tiles the image for the norm l2, and the images are {height} x {width}; expected as many "
                f"rows as columns, and at least {TILES}"
            )

    def start(self, rows: Rows) -> State:
        self.refuse(rows.clean.shape, 0)
        away = _stripes(rows) if self.norm == "linf" else _tiles(rows)
        images = self._at_edge(rows.clean, away)
        n, n_channels = rows.clean.shape[:2]
        return {
            "images": images,
            "best": images,
            "highest": rows.clean.new_full((n,), -torch.inf),
            "steps": torch.zeros_like(rows.labels),
            "numbers": rows.clean.new_zeros(n, BLOCK, n_channels + (2 if self.norm == "linf" else 5)),
        }

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        return LOSSES["cw"](logits, rows.labels, None)

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        """Where the margin has risen the image is kept; the next one differs from the best in a square."""
        state = dict(state)
        better = seen.loss > state["highest"]  # one that is NaN is no larger
        state["highest"] = torch.where(better, seen.loss, state["highest"])
        state["best"] = torch.where(per_image(better), state["images"], state["best"])
        state["numbers"] = self._numbers(rows, state)
        numbers = state["numbers"][torch.arange(len(rows), device=better.device), state["steps"] % BLOCK]
        size = self._size(state["steps"])
        change = self._square if self.norm == "linf" else self._window
        state["images"] = change(rows.clean, state["best"], size, numbers)
        state["steps"] = state["steps"] + 1
        return state

    def finished(self, state: State) -> Tensor:
        return state["steps"] >= (self.queries - 1 if self.epsilon else 0)

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    def _numbers(self, rows: Rows, state: State) -> Tensor:
        """(n, BLOCK, k) uniform in [0, 1), drawn anew for the images that have used theirs up."""
        numbers = state["numbers"]
        where = (state["steps"] % BLOCK == 0).nonzero().flatten()
        if not len(where):
            return numbers
        streams = rows.streams
        if not isinstance(streams, torch.Generator):
            streams = [streams[row] for row in where.tolist()]
        return numbers.index_copy(0, where, drawn(torch.rand, (len(where), *numbers.shape[1:]), streams).to(numbers))

    def _size(self, steps: Tensor) -> Tensor:
        """(n,) how often the share of the image that a square covers has been halved."""
        query = steps * 10_000 // self.queries if self.rescale_schedule else steps
        return torch.bucketize(query, torch.tensor(HALVED_AFTER, device=steps.device))

    def _square(self, clean: Tensor, best: Tensor, size: Tensor, numbers: Tensor) -> Tensor:
        """A square in which each channel is at one of the two edges of the ball (Algorithm 2)."""
        height, width = clean.shape[-2:]
        side = _sides(height, width, 1, clean.device)[size]
        inside = _inside(_corner(numbers[:, 0], height, side), _corner(numbers[:, 1], width, side), side, clean)
        return torch.where(inside, self._at_edge(clean, _signs(numbers[:, 2:, None, None])), best)

    def _window(self, clean: Tensor, best: Tensor, size: Tensor, numbers: Tensor) -> Tensor:
        """A window receives what another loses, and what the ball has left (Algorithm 3)."""
        extent, n_channels = clean.shape[-1], clean.shape[1]
        side = _odd_sides(extent, clean.device)[size]
        top, left, other_top, other_left = (_corner(numbers[:, each], extent, side) for each in range(4))
        here, there = _inside(top, left, side, clean), _inside(other_top, other_left, side, clean)
        away = best - clean
        room = (self.epsilon**2 - away.square().sum((1, 2, 3), keepdim=True)).clamp_min(0)
        budget = room / n_channels + (away * (here | there)).square().sum((2, 3), keepdim=True)
        upright = (numbers[:, 4] < 0.5).long()
        along = torch.arange(extent, device=clean.device)
        down, right = ((along - each[:, None]).clamp(0, extent - 1) for each in (top, left))
        pattern = _patterns(extent, clean.device)[upright, size][
            torch.arange(len(clean), device=clean.device)[:, None, None], down[:, :, None], right[:, None, :]
        ]
        new = here * (pattern[:, None] * _signs(numbers[:, 5:, None, None]) + _unit(away * here, (2, 3)))
        new = _unit(new, (2, 3)) * budget.sqrt()
        return self._at_edge(clean, _unit(torch.where(here, new, away * ~there), (1, 2, 3)))

    def _at_edge(self, clean: Tensor, unit: Tensor) -> Tensor:
        """epsilon along what has length 1 in this norm, within [0, 1]."""
        images = clean + self.epsilon * unit
        if self.norm == "linf":
            return images.clamp(0, 1)
        return projected(images, clean, clean.new_full((len(clean),), self.epsilon), "l2")


# --- where it starts --------------------------------------------------------------------------------------------------


def _stripes(rows: Rows) -> Tensor:
    """(n, channels, 1, width) signs: each column of each channel has one."""
    n, n_channels, _, width = rows.clean.shape
    return _signs(drawn(torch.rand, (n, n_channels, 1, width), rows.streams).to(rows.clean))


def _tiles(rows: Rows) -> Tensor:
    """Like the images, of length 1: tiles of the pattern, each with a sign for each channel."""
    n, n_channels, extent, _ = rows.clean.shape
    side = extent // TILES
    numbers = drawn(torch.rand, (n, n_channels + 1, TILES, TILES), rows.streams).to(rows.clean)
    pattern = _pattern(side).to(rows.clean)
    chosen = torch.stack([pattern.T, pattern])[(numbers[:, 0] < 0.5).long()]  # (n, TILES, TILES, side, side)
    tiles = chosen[:, None] * _signs(numbers[:, 1:, :, :, None, None])
    before = (extent - TILES * side) // 2
    after = extent - TILES * side - before
    whole = tiles.transpose(3, 4).reshape(n, n_channels, TILES * side, TILES * side)
    return _unit(torch.nn.functional.pad(whole, (before, after, before, after)), (1, 2, 3))


# --- squares and windows ----------------------------------------------------------------------------------------------


def _signs(numbers: Tensor) -> Tensor:
    """-1 or 1, each as often, of numbers uniform in [0, 1)."""
    return torch.where(numbers < 0.5, -1.0, 1.0).to(numbers)


def _unit(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Of length 1 over these dimensions; 0 stays 0."""
    return values / (values.square().sum(dims, keepdim=True).sqrt() + 1e-12)


def _corner(numbers: Tensor, extent: int, side: Tensor) -> Tensor:
    """(n,) the first row or column of a square of this side, anywhere within the image."""
    return torch.minimum((numbers * (extent - side + 1)).long(), extent - side)


def _inside(top: Tensor, left: Tensor, side: Tensor, images: Tensor) -> Tensor:
    """(n, 1, height, width) whether a pixel lies in the square."""
    down, right = (torch.arange(extent, device=images.device) for extent in images.shape[-2:])
    rows = (down >= top[:, None]) & (down < (top + side)[:, None])
    columns = (right >= left[:, None]) & (right < (left + side)[:, None])
    return rows[:, None, :, None] & columns[:, None, None, :]


@lru_cache(maxsize=8)
def _sides(height: int, width: int, least: int, device: torch.device) -> Tensor:
    """(k,) the side of a square in pixels, by how often its share of the image has been halved."""
    sides = (round(math.sqrt(SHARE / 2**k * height * width)) for k in range(len(HALVED_AFTER) + 1))
    return torch.tensor([min(max(side, least), height, width) for side in sides], device=device)


@lru_cache(maxsize=8)
def _odd_sides(extent: int, device: torch.device) -> Tensor:
    """(k,) the side of a window, likewise: odd, unless it is all of the image."""
    sides = _sides(extent, extent, 3, device)
    return (sides + 1 - sides % 2).clamp(max=extent)


@lru_cache(maxsize=8)
def _patterns(extent: int, device: torch.device) -> Tensor:
    """(2, k, extent, extent) the pattern of each window's side, in the first corner: lying and upright."""
    found = torch.zeros(2, len(HALVED_AFTER) + 1, extent, extent, dtype=torch.float32, device="cpu")
    for place, side in enumerate(_odd_sides(extent, torch.device("cpu")).tolist()):
        found[1, place, :side, :side] = _pattern(side)
        found[0, place, :side, :side] = _pattern(side).T
    return found.to(device)


def _pattern(side: int) -> Tensor:
    """(side, side) of length 1: a bump above, and one below it of the other sign (equation 2)."""
    return _unit(torch.cat([_bump(side // 2, side), -_bump(side - side // 2, side)]), (0, 1))


def _bump(height: int, width: int) -> Tensor:
    """(height, width) of length 1: highest in the middle, where all rings add up."""
    down, right = ((torch.arange(extent, device="cpu") - extent // 2).abs() for extent in (height, width))
    rings = torch.maximum(down[:, None], right)
    added = torch.arange(1, max(height, width) // 2 + 2, device="cpu").float() ** -2
    return _unit(added.flip(0).cumsum(0).flip(0)[rings], (0, 1))
