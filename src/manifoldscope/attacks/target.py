"""Target: the images under attack, as an attack sees them, and the outcome of what it does to them.

An attack only proposes. It asks the target for gradients and logits; the target gives the network as many images at a
time as it shall have, watches every image that it is shown, remembers which were misclassified, and checks the budget
of every image that an outcome rests on. Success is never taken on an attack's word.

A faster copy of the network may find the gradients. Its word on a class counts where it is clear, that is by more than
the copy may be off; otherwise the network itself is asked. A copy in reduced precision may find them faster still: then
what it says is misclassified is shown to the former.

Last iterates on which no further step depends are collected, and evaluated when they fill half a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from manifoldscope.errors import AttackError
from manifoldscope.vision.batching import BatchSize, bucket
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, predicted
from manifoldscope.vision.reader import Reader

Iterate = Literal["both", "any"]
"""Which outcomes are asked for: of the last iterate and of any, or of any alone."""

Loss = Callable[..., Tensor]
"""Logits (m, n_classes), and what else belongs to those m images, to one value an image, (m,)."""

BUDGET_TOLERANCE = 1e-6
"""How far rounding may carry a float32 pixel past its budget: 16 units in the last place of 1."""

CHECKED_TOGETHER = 64
"""Images whose budgets are checked at a time."""

LUMP = 8
"""Others come where one of that many rows is free: a few images at a time would cost passes of a few."""


@dataclass(frozen=True)
class Rules:
    """What a target holds an attack to.

    Attributes:
        name: of the attack and its strength, for errors.
        excess: (clean, perturbed) -> (n,) by how much each image exceeds the budget; at most 0 within it.
        iterative: whether its iterates are evaluated, or what it concludes with alone.
        iterate: whether images leave at their first success ("any"), or when their last iterate is misclassified.
        keep: whether the last iterates are returned.
    """

    name: str
    excess: Callable[[Tensor, Tensor], Tensor]
    iterative: bool
    iterate: Iterate = "both"
    keep: bool = False


class Target:
    """Images that the network classifies correctly when clean, under attack.

    Of n images m are under attack at a time: the rows of `clean`, `labels` and what else is said of them. Images leave
    when nothing more is to be learnt of them, and `standing` shrinks an attack's own tensors alike; others may come in
    their place (`admit`).

    Attributes:
        robust_any, robust_last: (n,) the outcomes, of all images that were given.
        last_prediction: (n,) classes of the last iterates; -1 where the network gives none.
        last_images: (n, channels, height, width) the last iterates, where they are asked for.
        without_class, without_gradient: (n,) for which the network gave NaN or infinity, as logits or as a gradient.
        n_gradients: (n,) how many gradients were asked for.
        misclassified_after: (n,) after how many steps, that is gradients before the image that was misclassified, it
            was so where iterate = "any"; -1 where it is robust.
    """

    def __init__(
        self,
        network: Network,
        images: ImageSet,
        clean_logits: Tensor,
        rules: Rules,
        *,
        stream: Callable[[str], torch.Generator],
        batch: BatchSize,
        own: BatchSize | None = None,
        search: FastNetwork | None = None,
        at_once: int | None = None,
    ) -> None:
        """All of n images, at least 1.

        Args:
            network: the one that decides.
            images: n labelled images.
            clean_logits: (n, n_classes) what the network says of them, on the CPU.
            rules: what the attack is held to.
            stream: a stream of random numbers for the image of a name.
            batch: how many images shall be given at a time to what gives gradients.
            own: how many to the network itself; as many if omitted.
            search: a faster copy of the network, and what proposes for it.
            at_once: how many images are under attack at once, at most; all if omitted.
        """
        self._network, self._rules, self._batch, self._own = network, rules, batch, own or batch
        self._search = FastNetwork(network) if search is None else search
        self._proposer = self._search.proposer
        # Whom to ask about images of which gradients were found, where their logits left doubt.
        self._beyond_doubt = self._search if self._proposer is not None else FastNetwork(network)
        self._images, self._stream, self._device = images, stream, network.device
        self._all_labels, self._all_logits = images.labels.to(self._device), clean_logits
        self._at_once = len(images) if at_once is None else at_once
        self._reader = Reader(network, images, ahead=self._at_once)
        n = len(images)
        self.robust_any = torch.ones(n, dtype=torch.bool, device=self._device)
        self.robust_last = self.robust_any.clone()
        self.last_prediction = self._all_labels.clone()
        self.last_images = network.pixels(images).to(self._device) if rules.keep else torch.empty(0)
        # By place: last iterates that wait to be evaluated; and what a copy says is misclassified, but not clearly, and
        # nobody else has been asked about yet.
        self._lasts: dict[int, Tensor] = {}
        self._witnesses: dict[int, Tensor] = {}
        self.without_class = torch.zeros_like(self.robust_any)
        self.without_gradient = torch.zeros_like(self.robust_any)
        self.n_gradients = torch.zeros_like(self._all_labels)
        self.misclassified_after = torch.full_like(self._all_labels, -1)
        # Rows: the place of each image under attack among all, and what is held of it.
        self._active = torch.empty(0, dtype=torch.int64, device=self._device)
        self._clean = torch.empty(0, device=self._device)
        self._streams: list[torch.Generator] = []
        self.admit()

    @property
    def clean(self) -> Tensor:
        """(m, channels, height, width): the clean images under attack."""
        return self._clean

    @property
    def labels(self) -> Tensor:
        """(m,): their labels."""
        return self._all_labels[self._active]

    @property
    def clean_logits(self) -> Tensor:
        """(m, n_classes): what the network says of them."""
        return self._all_logits[self._active.cpu()].to(self._device)

    @property
    def generators(self) -> list[torch.Generator]:
        """A stream of random numbers for each, so that what an image draws depends on no other."""
        return self._streams

    @property
    def n_waiting(self) -> int:
        """How many images have not come yet."""
        return len(self._all_labels) - self._reader.n_taken

    def admit(self) -> int:
        """Let images that wait come where there is room for some; how many did. They are the last rows."""
        n_came = min(self.n_waiting, self._at_once - len(self._active))
        if n_came < min(self.n_waiting, max(1, self._at_once // LUMP)) or not n_came:
            return 0
        came = slice(self._reader.n_taken, self._reader.n_taken + n_came)
        pixels = self._reader.take(n_came)
        if came.start:
            self._network.check_sizes([self._clean.shape[1:], pixels.shape[1:]])
        self._clean = torch.cat([self._clean, pixels]) if len(self._active) else pixels
        self._active = torch.cat([self._active, torch.arange(came.start, came.stop, device=self._device)])
        self._streams = self._streams + [self._stream(name) for name in self._images.names[came]]
        return n_came

    def in_batches(self, work: Callable[[slice], None]) -> None:
        """Do `work` on a batch of the images still under attack after another.

        For attacks that ask for `logits`, and draw for a whole batch: it is as large as was asked for, whatever fits
        into memory. Work that runs out of memory is done again, with fewer images to a pass.
        """
        self._own.whole(len(self._clean), work)

    def gradient(self, images: Tensor, loss: Loss, *beside: Tensor | None) -> tuple[Tensor, Tensor]:
        """Gradient at `images` of the sum of a loss; the images count as iterates and are evaluated.

        The gradient may be that of a faster copy of the network, up to rounding, or to that of bfloat16.

        Args:
            images: (m, channels, height, width), one for each image under attack.
            loss: called with the logits (k, n_classes) of k of them, and what belongs to these of each of `beside`.
            beside: tensors of m rows, such as labels; None is handed on.

        Returns:
            The gradient, zero where the network gives NaN or infinity for it, and the values (m,) of the loss.
        """
        parts: list[Tensor] = []
        values = images.new_empty(len(images))
        predictions, clear = self._unasked(len(images))
        network = self._search.network if self._proposer is None else self._proposer

        def ask(where: slice) -> None:
            n = where.stop - where.start
            with torch.enable_grad():
                leaf = self._filled(images[where]).detach().requires_grad_(True)
                logits = network(leaf)[:n]
                each = loss(logits, *(None if one is None else one[where] for one in beside))
                (found,) = torch.autograd.grad(each.sum(), leaf)
            values[where], predictions[where] = each.detach(), predicted(logits.detach())
            if self._proposer is None:
                clear[where] = self._search.clear(logits.detach())
            parts.append(found[:n].contiguous())

        self._batch.over(len(images), ask)
        gradient = parts[0] if len(parts) == 1 else torch.cat([*parts, images[:0]])
        lost = ~torch.isfinite(gradient.flatten(1).sum(1))
        if bool(lost.any()):
            if self._proposer is None:
                self.without_gradient[self._active[lost]] = True
            gradient[lost] = 0
        self._judge(images, predictions, clear, None)
        self.n_gradients[self._active] += 1
        return gradient, values

    def values(self, images: Tensor, loss: Loss, *beside: Tensor | None, rows: Tensor | None = None) -> Tensor:
        """(k,): the loss at `images`, without a gradient; they count as iterates and are evaluated.

        Args:
            images: (k, channels, height, width), one for each image under attack, or for each of `rows`.
            loss: as `gradient` takes it.
            beside: tensors of k rows; None is handed on.
            rows: (k,) which of the images under attack they are.
        """
        values = images.new_empty(len(images))
        predictions, clear = self._unasked(len(images))

        def ask(where: slice) -> None:
            n = where.stop - where.start
            with torch.no_grad():
                logits = self._search.network(self._filled(images[where]))[:n]
                values[where] = loss(logits, *(None if one is None else one[where] for one in beside))
            predictions[where], clear[where] = predicted(logits), self._search.clear(logits)

        self._batch.over(len(images), ask)
        self._judge(images, predictions, clear, rows)
        return values

    def show(self, images: Tensor, rows: Tensor) -> None:
        """Have `images`, one for each of `rows` of those under attack, evaluated as iterates, without a gradient."""
        self.values(images, lambda logits: logits.new_zeros(len(logits)), rows=rows)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (m, n_classes) of any m images, with a graph where they ask for gradients; nothing is decided.

        For attacks with a loop of their own: what they find counts when it is shown through `conclude`. Images that do
        not fit into memory together go through the network in parts, and once more where a gradient is found.
        """
        if len(images) <= self._own.fits:
            return self._network(images)
        return torch.cat([self._logits_of_part(part) for part in torch.split(images, self._own.fits)])

    def _logits_of_part(self, part: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and part.requires_grad):
            return self._network(part)
        logits: Tensor = checkpoint(self._network, part, use_reentrant=False, preserve_rng_state=False)
        return logits

    @property
    def stands(self) -> Tensor:
        """(m,) bool: of which images under attack something may still be learnt."""
        outcomes = self.robust_any if self._rules.iterate == "any" else self.robust_last
        return outcomes[self._active]

    def standing(self, *tensors: Tensor, finished: Tensor | None = None) -> tuple[Tensor, ...]:
        """An attack's own tensors, one row per image, without the images of which nothing more is to be learnt.

        `clean`, `labels` and the others shrink with them. Those that are `finished` (m,) leave as well, as they are.
        """
        keep = self.stands if finished is None else self.stands & ~finished
        if bool(keep.all()):
            return tensors
        self._settle(self._active[~keep])
        rows = keep.nonzero().flatten()
        self._active, self._clean = self._active[rows], self._clean.index_select(0, rows)
        self._streams = [self._streams[row] for row in rows.tolist()]
        return tuple(tensor.index_select(0, rows) for tensor in tensors)

    def conclude(self, images: Tensor, rows: Tensor | None = None, *, wait: bool = False) -> None:
        """Judge the last iterates of all images under attack, or of those of `rows` (k,), by a pass of their own.

        Those that may `wait`, since they leave in either case, are evaluated with others, by `settle` at the latest.
        """
        active, clean = (self._active, self._clean) if rows is None else (self._active[rows], self._clean[rows])
        self._check_budget(images, clean)
        enough = math.ceil(min(self._batch.fits, self._at_once) / 2)
        if not wait or (not self._lasts and len(images) >= enough):
            self._judge_last(images, active)
            return
        self._lasts |= zip(active.tolist(), images, strict=True)
        if len(self._lasts) >= enough:
            self._judge_lasts()

    def settle(self) -> None:
        """Evaluate what waits, and settle what a copy said was misclassified, not clearly; the runner's last call."""
        self._judge_lasts()
        self._settle(self._active)

    def _judge_lasts(self) -> None:
        """Judge the last iterates that wait."""
        if self._lasts:
            places, images = self._active.new_tensor(list(self._lasts)), torch.stack(list(self._lasts.values()))
            self._lasts = {}
            self._judge_last(images, places)

    def _judge_last(self, images: Tensor, places: Tensor) -> None:
        """Judge last iterates, one for each of `places` (k,)."""
        prediction = self._classes(images, self._search)
        # With several restarts, the last iterate that is returned is that of the first restart that succeeded.
        unsettled = self.robust_last[places]
        where = places[unsettled]
        self.last_prediction[where] = prediction[unsettled]
        if self._rules.keep:
            self.last_images[where] = images[unsettled]
        self.without_class[places[prediction < 0]] = True
        misclassified = places[prediction != self._all_labels[places]]
        self.robust_last[misclassified] = False
        self._record_misclassified(misclassified)

    def _settle(self, places: Tensor) -> None:
        """Settle what a copy said, not clearly, was misclassified of images that leave."""
        if not self._witnesses:
            return
        shown = {place: self._witnesses.pop(place) for place in places.tolist() if place in self._witnesses}
        if shown:
            self._judge_lasts()  # most of these are misclassified at the last iterate too: no pass of their own
        stand = self.robust_any[places.new_tensor(list(shown))].tolist()
        shown = {place: image for (place, image), stands in zip(shown.items(), stand, strict=True) if stands}
        if not shown:
            return
        images, where = torch.stack(list(shown.values())), places.new_tensor(list(shown))
        classes = self._classes(images, self._beyond_doubt)
        self.without_class[where[classes < 0]] = True
        misclassified = classes != self._all_labels[where]
        if bool(misclassified.any()):
            clean = self._network.pixels(self._images.subset(where[misclassified].cpu())).to(self._device)
            self._check_budget(images[misclassified], clean)
            self._record_misclassified(where[misclassified])

    def _judge(self, images: Tensor, predictions: Tensor, clear: Tensor, rows: Tensor | None) -> None:
        """Judge iterates of all images under attack, or of those of `rows` (k,)."""
        if not self._rules.iterative:
            return
        active = self._active if rows is None else self._active[rows]
        labels = self._all_labels[active]
        misclassified = (predictions != labels) & self.robust_any[active]
        unclear = (misclassified & ~clear).nonzero().flatten()
        if len(unclear) and self._rules.iterate == "both":
            for row, place in zip(unclear.tolist(), active[unclear].tolist(), strict=True):
                self._witnesses[place] = images[row].clone()
            misclassified &= clear
        elif len(unclear):
            predictions[unclear] = self._classes(images[unclear], self._beyond_doubt)
            misclassified[unclear] = predictions[unclear] != labels[unclear]
        if not bool(misclassified.any()):
            return
        self.without_class[active[misclassified & (predictions < 0)]] = True
        where = misclassified.nonzero().flatten()
        self._check_budget(images, self._clean if rows is None else self._clean[rows], where)
        self._record_misclassified(active[where])

    def _record_misclassified(self, places: Tensor) -> None:
        """An iterate of these images is misclassified."""
        first = places[self.robust_any[places]]
        self.robust_any[first] = False
        self.misclassified_after[first] = self.n_gradients[first]

    def _unasked(self, n: int) -> tuple[Tensor, Tensor]:
        """(n,) classes to be filled in, and whether they are clear."""
        predictions = torch.empty(n, dtype=torch.int64, device=self._device)
        return predictions, torch.zeros_like(predictions, dtype=torch.bool)

    def _classes(self, images: Tensor, by: FastNetwork) -> Tensor:
        """(m,) the network's classes of any m images: as a copy of it says, and where that is unclear as it says."""
        found, clear = self._unasked(len(images))

        def ask(where: slice) -> None:
            n = where.stop - where.start
            with torch.no_grad():
                logits = by.network(self._filled(images[where]))[:n]
            found[where], clear[where] = predicted(logits), by.clear(logits)

        self._batch.over(len(images), ask)
        if not bool(clear.all()):
            found[~clear] = self._classes(images[~clear], FastNetwork(self._network))
        return found

    def _filled(self, images: Tensor) -> Tensor:
        """The images of one pass, with the first of them repeated where batches shrink, so that they have few sizes."""
        most = min(self._batch.fits, self._at_once, len(self._all_labels))
        if self._rules.iterate == "both" or len(images) == most:
            return images
        return torch.cat([images, images[:1].expand(bucket(len(images), most) - len(images), -1, -1, -1)])

    def _check_budget(self, images: Tensor, clean: Tensor, where: Tensor | None = None) -> None:
        """Of all images or of those `where` (m,) says, some at a time, since squares are added up in float64."""
        where = torch.arange(len(images), device=images.device) if where is None else where
        for some in torch.split(where, CHECKED_TOGETHER):
            if not len(some):
                return
            shown = images[some]
            outside = float(torch.maximum(-shown.amin(), shown.amax() - 1))
            excess = max(outside, float(self._rules.excess(clean[some], shown).max()))
            if not excess <= BUDGET_TOLERANCE:  # also true of NaN
                raise AttackError(
                    f"{self._rules.name} proposed an image that exceeds its budget or [0, 1] by {excess:.3g}; "
                    "its outcomes would not count"
                )
