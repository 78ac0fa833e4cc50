"""The one loop of all attacks: it asks the network, judges what it was shown, lets images leave and others come.

Nothing else knows of batches, memory, devices or NaN. The network is asked about full batches: as images leave, because
they are misclassified or finished, others come. Predictions are read off the pass that gives the gradients.

A faster copy of the network may be asked in its place (`vision.fast`). An image counts as misclassified only where the
network itself says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manifoldscope.attacks.ball import Norm, distance
from manifoldscope.attacks.contract import checked_state, one_each
from manifoldscope.attacks.perturbation import Outcome, Perturbation, Rows, Seen, State
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.vision.batching import BatchSize, bucket
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.gradient import pixel_gradient
from manifoldscope.vision.network import Network, predicted

BUDGET_TOLERANCE = 1e-6
"""How far rounding may carry a float32 pixel past its budget: 16 units in the last place of 1."""

INSIDE = 1e-6
"""How far from 0 and 1 pixels are kept where a gradient is taken."""

CHECKED_TOGETHER = 64
"""Images whose budgets are checked at a time."""

SUCCESS = 2**30
"""What a run that succeeded ranks above those that did not; more than an image has runs."""

LUMP = 8
"""Others come where one of that many rows is free: a few images at a time would cost passes of a few."""

Source = Callable[[Sequence[int], Sequence[int]], Rows]
"""Where images come from: places and runs to rows, at the beginning of these runs."""


@dataclass(eq=False)
class Found:
    """What came of n images; filled in as they are attacked.

    Attributes:
        robust_any: (n,) no image that the network was shown was misclassified; under "last", the same as robust_last.
        robust_last: (n,) the last image of no run was; under "any", the same as robust_any.
        last_prediction: (n,) the class of the last image of the first run that succeeded, or else of the last run; -1
            where the network gives none.
        images: (n, channels, height, width) that image, where it is kept.
        without_class, without_gradient: (n,) for which the network gave NaN or infinity, as logits or as a gradient.
        rank: (n,) of the run that the last image is of: of those that succeeded the first, or else the last.
        n_seen: (n,) how often the network was shown each in its first run.
        misclassified_after: (n,) how often it had been, when it was first misclassified; -1 where it was not.
        nearest: (n,) float64, the distance of the nearest misclassified image, where it is asked for.
    """

    robust_any: Tensor
    robust_last: Tensor
    last_prediction: Tensor
    images: Tensor | None
    without_class: Tensor
    without_gradient: Tensor
    rank: Tensor
    n_seen: Tensor
    misclassified_after: Tensor
    nearest: Tensor

    @classmethod
    def of(cls, labels: Tensor, images: Tensor | None = None) -> Found:
        """Before the first image is attacked."""
        n, device = len(labels), labels.device
        truth = torch.ones(n, dtype=torch.bool, device=device)
        wide = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have none
        never = torch.full((n,), torch.inf, device=device, dtype=wide)
        zero = torch.zeros(n, dtype=torch.int64, device=device)
        rank = (zero - 1).int()
        return cls(truth, truth.clone(), labels.clone(), images, ~truth, ~truth, rank, zero, zero - 1, never)


@dataclass(frozen=True, eq=False)
class Look:
    """The rows under attack, and what was seen of them; None where no step follows."""

    rows: Rows
    state: State
    seen: Seen | None


@dataclass(frozen=True, eq=False)
class Engine:
    """A network under attack.

    Attributes:
        network: the one that decides.
        copy: what gradients are asked of.
        batch: how many images the copy is given at a time.
        own: how many the network itself is given.
        require: raises where so many classes do not do; nobody has to be asked for them beforehand.
    """

    network: Network
    copy: FastNetwork
    batch: BatchSize
    own: BatchSize
    require: Callable[[int], None] = lambda n_classes: None

    def attack(
        self,
        stages: Sequence[Perturbation],
        sources: Callable[[Tensor], Source],
        found: Found,
        places: Tensor,
        *,
        outcome: Outcome,
        nearest: Norm | None = None,
    ) -> None:
        """Attack images, and fill in what comes of them: each stage attacks those that are robust so far.

        Args:
            stages: of a perturbation, all or some.
            sources: (k,) places to where images come from, which are asked for in that order first.
            places: (k,) which of those in `found`.
            outcome: which images count. Under "any" an image leaves as soon as one of them is misclassified.
            nearest: in this norm, note the distance of the nearest misclassified image, and let none leave for it.

        Raises:
            AttackError: an image exceeds the attack's budget.
        """
        for stage in stages:
            robust = found.robust_any if outcome == "any" else found.robust_last
            left = places[robust[places].cpu()]
            found.rank[left] = -1
            ready = stage.prepared(self.network)
            for _ in self.looks(ready, sources(left), found, left, outcome=outcome, nearest=nearest):
                pass

    def looks(
        self,
        perturbation: Perturbation,
        source: Source,
        found: Found,
        places: Tensor,
        *,
        outcome: Outcome,
        nearest: Norm | None = None,
        judge: bool = True,
    ) -> Iterator[Look]:
        """One stage, look by look; where nothing is judged, all images run once, until all are finished."""
        at_once = self.batch.fits
        line = _Line(places.tolist(), alone=outcome != "any")
        rows: Rows | None = None
        state: State = {}
        while True:
            room = at_once - (0 if rows is None else len(rows))
            if rows is None or room >= max(1, at_once // LUMP):
                robust = found.robust_any if outcome == "any" else found.robust_last
                chosen, runs = line.take(room, robust, rows)
                if chosen:
                    came = source(chosen, runs)
                    begun = checked_state(perturbation, came, perturbation.start(came))
                    state = begun if rows is None else {name: torch.cat([state[name], begun[name]]) for name in begun}
                    rows = came if rows is None else rows.joined(came)
            if rows is None:
                return
            done = one_each(perturbation, "finished", perturbation.finished(state), len(rows), truths=True)
            over = bool(done.all())
            if over and not judge:
                yield Look(rows, state, None)
                return
            shrinks = outcome == "any" and perturbation.asks_gradients
            seen = self._seen(perturbation, rows, state, found, gradient=not over, fill=shrinks)
            line.n_runs = perturbation.n_runs(seen.logits.shape[1]) if judge else 1
            stands = torch.ones_like(done)
            if judge:
                seen, stands = self._judged(perturbation, rows, state["images"], seen, done, found, outcome, nearest)
            yield Look(rows, state, seen)
            stays = ~done & stands
            if judge and not bool(stays.all()):
                where = stays.nonzero().flatten()
                rows, seen = rows.select(where), seen.select(where)
                state = {name: tensor.index_select(0, where) for name, tensor in state.items()}
            if not len(rows):
                rows = None
                continue
            before, state = state, checked_state(perturbation, rows, perturbation.step(rows, state, seen), state)
            if not judge and bool(done.any()):  # what is finished stays as it is until all are
                where = done.nonzero().flatten()
                state = {name: tensor.index_copy(0, where, before[name][where]) for name, tensor in state.items()}

    # --- asking ---------------------------------------------------------------------------------------------------

    def _seen(
        self, perturbation: Perturbation, rows: Rows, state: State, found: Found, *, gradient: bool, fill: bool
    ) -> Seen:
        """What the copy says of all rows; where batches shrink, they are filled."""
        images, wanted = state["images"], gradient and perturbation.asks_gradients
        parts: list[tuple[Tensor, Tensor, Tensor]] = []

        def ask(where: slice) -> None:
            n, whole = where.stop - where.start, where == slice(0, len(images))
            some = rows if whole else rows.select(torch.arange(where.start, where.stop, device=images.device))
            own = state if whole else {name: tensor[where] for name, tensor in state.items()}
            shown = self._filled(own["images"], self.batch) if fill else own["images"]
            with torch.set_grad_enabled(wanted):
                # some modules have no gradient on the bounds of [0, 1] themselves: a clamp, for one
                leaf = (shown.detach().clamp(INSIDE, 1 - INSIDE) if wanted else shown.detach()).requires_grad_(wanted)
                logits = self.copy.network(leaf)
                logits = logits if n == len(leaf) else logits[:n]
                self.require(logits.shape[1])
                loss = perturbation.loss_of(logits, some, own)
                loss = one_each(perturbation, "loss_of", loss, n, truths=False, gradient=wanted)
                slope = pixel_gradient(self.copy.network.name, loss.sum(), leaf)[:n] if wanted else images[:0]
            parts.append((logits.detach(), loss.detach(), slope))

        self.batch.over(len(images), ask)
        logits, loss, slopes = (each[0] if len(parts) == 1 else torch.cat(each) for each in zip(*parts, strict=True))
        if wanted and not bool(slopes.sum().isfinite()):  # of some image it is not, or all together are too large
            lost = ~torch.isfinite(slopes.flatten(1).sum(1))
            found.without_gradient[rows.place[lost]] = True
            slopes = torch.where(lost.view(-1, 1, 1, 1), 0, slopes)
        return Seen(logits, loss, slopes, predicted(logits) != rows.labels)

    def predictions(self, images: Tensor) -> Tensor:
        """(n,) the classes that the network itself gives to any images; -1 where it gives none."""
        classes = torch.empty(len(images), dtype=torch.int64, device=images.device)

        def ask(where: slice) -> None:
            with torch.no_grad():
                shown = self._filled(images[where], self.own)
                classes[where] = predicted(self.network(shown)[: where.stop - where.start])

        self.own.over(len(images), ask)
        return classes

    def _filled(self, images: Tensor, batch: BatchSize) -> Tensor:
        """The images of one pass, with the first of them repeated where batches shrink, so that they have few sizes."""
        missing = bucket(len(images), max(batch.fits, len(images))) - len(images)
        return torch.cat([images, images[:1].expand(missing, -1, -1, -1)]) if missing else images

    # --- judging --------------------------------------------------------------------------------------------------

    def _judged(
        self,
        perturbation: Perturbation,
        rows: Rows,
        images: Tensor,
        seen: Seen,
        done: Tensor,
        found: Found,
        outcome: Outcome,
        nearest: Norm | None,
    ) -> tuple[Seen, Tensor]:
        """Note what the network itself says is misclassified; and (m,) of which rows more is to be learnt."""
        place, in_first = rows.place, rows.run == 0
        after = found.n_seen[place]
        found.n_seen.index_add_(0, place, in_first.to(place))
        if nearest is None and not bool((seen.misclassified | done).any()):
            return seen, _stands(found, rows, outcome)
        ending = done & found.robust_last[place]
        matters = _stands(found, rows, outcome) if outcome == "any" else ending
        if outcome == "both":
            matters = ending | found.robust_any[place]
        if nearest is not None:
            away = distance(rows.clean, images, nearest).to(found.nearest)
            matters = away < found.nearest[place]
        within = self._within(perturbation, rows.clean, images, matters & (seen.misclassified | done))
        where = (matters & within & seen.misclassified).nonzero().flatten()
        classes = rows.labels.clone()
        if len(where):
            by_itself = self.copy.network is self.network and not len(seen.gradient)  # and of these very images
            classes[where] = predicted(seen.logits[where]) if by_itself else self.predictions(images[where])
        wrong = classes != rows.labels
        said = seen.misclassified.clone()
        said[where] = wrong[where]
        seen = replace(seen, misclassified=said)
        found.without_class[place[classes < 0]] = True
        if nearest is not None:
            found.nearest.scatter_reduce_(0, place[wrong], away[wrong], "amin")
            return seen, torch.ones_like(done)
        run = rows.run.to(found.rank)
        rank = torch.where(wrong, SUCCESS - run, run)
        shown = (wrong | ending if outcome == "any" else ending) & (rank > found.rank[place])
        found.rank.scatter_reduce_(0, place[shown], rank[shown], "amax")
        shown &= rank == found.rank[place]
        found.last_prediction[place[shown]] = classes[shown]
        if found.images is not None:
            found.images[place[shown].to(found.images.device)] = images[shown].to(found.images)
        first = wrong & in_first & (found.misclassified_after[place] < 0)
        found.misclassified_after[place[first]] = after[first]
        found.robust_any[place[wrong]] = False
        found.robust_last[place[wrong & done if outcome == "both" else wrong]] = False
        return seen, _stands(found, rows, outcome)

    def _within(self, perturbation: Perturbation, clean: Tensor, images: Tensor, asked: Tensor) -> Tensor:
        """(m,) whether the images that are asked for are within the budget; of a bounded attack they have to be."""
        within = torch.ones_like(asked)
        for some in torch.split(asked.nonzero().flatten(), CHECKED_TOGETHER):
            if not len(some):
                break
            shown = images[some]
            flat = shown.flatten(1)
            outside = torch.maximum(-flat.amin(1), flat.amax(1) - 1)
            beyond = perturbation.excess(clean[some], shown)
            beyond = one_each(perturbation, "excess", beyond, len(some), truths=False)
            excess = torch.maximum(outside.to(flat), beyond.to(flat))
            within[some] = excess <= BUDGET_TOLERANCE  # False of NaN
            if perturbation.bounded and not bool(within[some].all()):
                raise AttackError(
                    f"{perturbation.kind} ({perturbation.strength_setting} {perturbation.strength:g}) proposed an "
                    f"image that exceeds its budget or [0, 1] by {float(excess.max()):.3g}; its outcomes would not "
                    "count"
                )
        return within


class _Line:
    """Runs that have not begun: the first of each image, then the second of those that are robust, and so on.

    Runs of one image may be under attack together, so that batches are full to the end; not where it is `alone`, since
    then its last image counts, which is that of the first run that succeeds.
    """

    def __init__(self, places: list[int], *, alone: bool) -> None:
        self.n_runs = 1
        self._places, self._alone = places, alone
        self._next = self._run = 0

    def take(self, most: int, robust: Tensor, active: Rows | None) -> tuple[list[int], list[int]]:
        """Places and runs of at most that many that begin now."""
        chosen: list[int] = []
        runs: list[int] = []
        under_way = set(active.place.tolist()) if self._alone and active is not None else set()
        stands = robust.cpu()
        while len(chosen) < most:
            if self._next == len(self._places):
                if self._run + 1 >= self.n_runs or not self._places:
                    break
                self._run, self._next = self._run + 1, 0
                self._places = [place for place in self._places if stands[place]]
                continue
            place = self._places[self._next]
            if self._run and self._alone and (place in under_way or place in chosen):
                break
            self._next += 1
            if not self._run or stands[place]:
                chosen.append(place)
                runs.append(self._run)
        return chosen, runs


def require_label(network: Network, largest: int, n_classes: int) -> None:
    """Raise ModelError unless the largest label is one of so many classes."""
    if largest >= n_classes:
        raise ModelError(
            f"{network.name} has {n_classes} outputs, but label {largest} occurs; the network and the labels do not fit"
        )


def require_class(network: Network, predictions: Tensor) -> None:
    """Raise ModelError where a network gives no image a class: predictions (n,) of -1."""
    if bool((predictions < 0).all()):
        raise ModelError(
            f"{network.name} gave NaN or infinite logits for all {len(predictions)} images; no outcome can be given. "
            "Look at its weights and their type; give classes that are left out a large negative logit, not -inf"
        )


def _stands(found: Found, rows: Rows, outcome: Outcome) -> Tensor:
    """(m,) of which rows more is to be learnt. Under "any" it is of runs before the first that has succeeded so far."""
    if outcome == "any":
        return SUCCESS - rows.run > found.rank[rows.place]
    return found.robust_last[rows.place]
