"""Target: the images under attack, as a threat sees them, and the judge of what it does to them.

A threat only proposes. It asks the target for gradients and logits; the target gives the network as many images at a
time as it shall have, watches every image that it is shown, remembers which were misclassified, and checks the budget
of every image that a verdict rests on. Success is never taken on a threat's word.

A faster copy of the network may find the gradients. Its word on a class counts where it is clear, that is by more than
the copy may be off; otherwise the network itself is asked. A copy in reduced precision may find them sooner still: then
what it says has fallen is shown to the former.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from manifoldscope.errors import ThreatError
from manifoldscope.vision.batching import BatchSize, bucket
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.network import Network, predicted

Iterate = Literal["both", "any"]
"""Which verdicts are asked for: of the last iterate and of any, or of any alone."""

Loss = Callable[..., Tensor]
"""Logits (m, n_classes), and what else belongs to those m images, to one value an image, (m,)."""

BUDGET_TOLERANCE = 1e-6
"""How far rounding may carry a float32 pixel past its budget: 16 units in the last place of 1."""

CHECKED_TOGETHER = 64
"""Images whose budgets are checked at a time."""


@dataclass(frozen=True)
class Rules:
    """What a target holds a threat to.

    Attributes:
        name: of the threat and its strength, for errors.
        excess: (clean, perturbed) -> (n,) by how much each image exceeds the budget; at most 0 within it.
        iterative: whether its iterates are judged, or what it concludes with alone.
        iterate: whether images leave at their first success ("any"), or when their last iterate is misclassified.
        keep: whether the last iterates are kept.
    """

    name: str
    excess: Callable[[Tensor, Tensor], Tensor]
    iterative: bool
    iterate: Iterate = "both"
    keep: bool = False


class Target:
    """Images that the network classifies correctly when clean, under attack.

    Images leave when nothing more is to be learnt of them: `clean`, `labels` and what else is said of the images
    shrink, and `standing` shrinks a threat's own tensors alike.

    Attributes:
        survived_any, survived_last: (n,) the verdicts, of all images that were given.
        last_prediction: (n,) classes of the last iterates; -1 where the network gives none.
        last_images: (n, channels, height, width) the last iterates, where they are kept.
        without_class, without_gradient: (n,) for which the network gave NaN or infinity, as logits or as a gradient.
        n_gradients: gradients that were asked for, one an image.
    """

    def __init__(
        self,
        network: Network,
        clean: Tensor,
        labels: Tensor,
        clean_logits: Tensor,
        rules: Rules,
        *,
        generators: Sequence[torch.Generator],
        batch: BatchSize,
        search: FastNetwork | None = None,
    ) -> None:
        """All of n images. `search` is a copy of the network that answers sooner, and what proposes for it."""
        self._network, self._rules, self._batch = network, rules, batch
        self._search = FastNetwork(network) if search is None else search
        self._proposer = self._search.proposer
        # Whom to ask about images of which gradients were found, where their logits left doubt.
        self._beyond_doubt = self._search if self._proposer is not None else FastNetwork(network)
        self._all_labels, self._all_logits = labels, clean_logits
        # What leaves under "any" is never looked at again, and need not be held.
        self._all_clean = clean if rules.iterate == "both" else clean[:0]
        self._all_generators = generators
        self._active = torch.arange(len(clean), device=clean.device)
        self._clean, self._labels = clean, labels
        self.survived_any = torch.ones_like(labels, dtype=torch.bool)
        self.survived_last = self.survived_any.clone()
        self.last_prediction = labels.clone()
        self.last_images = clean.clone() if rules.keep else clean[:0]
        # What a copy says has fallen, but not clearly, and nobody else has been asked about yet.
        self._witnesses = clean[:0]
        self._doubtful = torch.zeros_like(self.survived_any)
        self.without_class = torch.zeros_like(self.survived_any)
        self.without_gradient = torch.zeros_like(self.survived_any)
        self.n_gradients = 0

    @property
    def clean(self) -> Tensor:
        """(n, channels, height, width): the clean images still under attack."""
        return self._clean

    @property
    def labels(self) -> Tensor:
        """(n,): their labels."""
        return self._labels

    @property
    def clean_logits(self) -> Tensor:
        """(n, n_classes): what the network says of them."""
        return self._all_logits[self._active]

    @property
    def generators(self) -> list[torch.Generator]:
        """A stream of random numbers for each, so that what an image draws depends on no other."""
        return [self._all_generators[place] for place in self._active.tolist()]

    def in_batches(self, work: Callable[[slice], None]) -> None:
        """Do `work` on as many of the images still under attack as the network shall have at a time, one after another.

        For threats that ask for logits, which come at once. Work that runs out of memory is done again in halves.
        """
        self._batch.over(len(self._clean), work)

    def gradient(self, images: Tensor, loss: Loss, *beside: Tensor | None) -> tuple[Tensor, Tensor]:
        """Gradient at `images` of the sum of a loss; the images count as iterates and are judged.

        The gradient may be that of a faster copy of the network, up to rounding, or to that of bfloat16.

        Args:
            images: (n, channels, height, width), one for each image still under attack.
            loss: called with logits (m, n_classes) and what belongs to these m images of each of `beside`.
            beside: tensors of n rows, such as labels; None is handed on.

        Returns:
            The gradient, zero where the network gives NaN or infinity for it, and the values (n,) of the loss.
        """
        gradient, values = torch.empty_like(images), images.new_empty(len(images))
        predictions, clear = torch.empty_like(self._labels), torch.zeros_like(self._labels, dtype=torch.bool)
        network = self._search.network if self._proposer is None else self._proposer
        self.n_gradients += len(images)

        def ask(where: slice) -> None:
            n = where.stop - where.start
            with torch.enable_grad():
                leaf = self._filled(images[where]).detach().requires_grad_(True)
                logits = network(leaf)[:n]
                each = loss(logits, *(None if one is None else one[where] for one in beside))
                (found,) = torch.autograd.grad(each.sum(), leaf)
            gradient[where], values[where] = found[:n], each.detach()
            predictions[where] = predicted(logits.detach())
            if self._proposer is None:
                clear[where] = self._search.clear(logits.detach())

        self._batch.over(len(images), ask)
        lost = ~torch.isfinite(gradient.flatten(1).sum(1))
        if bool(lost.any()):
            if self._proposer is None:
                self.without_gradient[self._active[lost]] = True
            gradient[lost] = 0
        self._judge(images, predictions, clear)
        return gradient, values

    def values(self, images: Tensor, loss: Loss, *beside: Tensor | None) -> Tensor:
        """(n,): the loss at `images`, without a gradient; they count as iterates and are judged."""
        values = images.new_empty(len(images))
        predictions, clear = torch.empty_like(self._labels), torch.empty_like(self._labels, dtype=torch.bool)

        def ask(where: slice) -> None:
            n = where.stop - where.start
            with torch.no_grad():
                logits = self._search.network(self._filled(images[where]))[:n]
                values[where] = loss(logits, *(None if one is None else one[where] for one in beside))
            predictions[where], clear[where] = predicted(logits), self._search.clear(logits)

        self._batch.over(len(images), ask)
        self._judge(images, predictions, clear)
        return values

    def show(self, images: Tensor) -> None:
        """Have `images`, one for each image still under attack, judged as iterates, without a gradient."""
        self.values(images, lambda logits: logits.new_zeros(len(logits)))

    def logits(self, images: Tensor) -> Tensor:
        """Logits (m, n_classes) of any m images, with a graph where they ask for gradients; nothing is judged.

        For attacks with a loop of their own: what they find counts when it is shown through `conclude`. The images are
        given to the network at once, however many they are.
        """
        return self._network(images)

    def standing(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """A threat's own tensors, one row an image, without the images of which nothing more is to be learnt.

        `clean`, `labels` and the others shrink with them.
        """
        verdicts = self.survived_any if self._rules.iterate == "any" else self.survived_last
        keep = verdicts[self._active]
        if bool(keep.all()):
            return tensors
        self._active, self._clean, self._labels = self._active[keep], self._clean[keep], self._labels[keep]
        return tuple(tensor[keep] for tensor in tensors)

    def conclude(self, images: Tensor) -> None:
        """Judge the last iterates, by a pass of their own."""
        self._check_budget(images, self._clean)
        prediction = self._classes(images, self._search)
        # With several restarts, the last iterate that is kept is that of the first restart that succeeded.
        unsettled = self.survived_last[self._active]
        where = self._active[unsettled]
        self.last_prediction[where] = prediction[unsettled]
        if self._rules.keep:
            self.last_images[where] = images[unsettled]
        self.without_class[self._active[prediction < 0]] = True
        fell = self._active[prediction != self._labels]
        self.survived_last[fell] = False
        self.survived_any[fell] = False

    def settle(self) -> None:
        """Settle what a copy said had fallen, not clearly, and what stands still; the runner's last call."""
        places = (self._doubtful & self.survived_any).nonzero().flatten()
        self._doubtful[:] = False
        if not len(places):
            return
        images = self._witnesses[places]
        fell = self._classes(images, self._beyond_doubt) != self._all_labels[places]
        self._check_budget(self._witnesses, self._all_clean, places[fell])
        self.survived_any[places[fell]] = False

    def _judge(self, images: Tensor, predictions: Tensor, clear: Tensor) -> None:
        if not self._rules.iterative:
            return
        fell = (predictions != self._labels) & self.survived_any[self._active]
        unclear = (fell & ~clear).nonzero().flatten()
        if len(unclear) and self._rules.iterate == "both":
            # Most of these fall at the last iterate as well, and need no pass of their own.
            if not len(self._witnesses):
                self._witnesses = torch.empty_like(self._all_clean)
            self._witnesses[self._active[unclear]] = images[unclear]
            self._doubtful[self._active[unclear]] = True
            fell &= clear
        elif len(unclear):
            predictions[unclear] = self._classes(images[unclear], self._beyond_doubt)
            fell[unclear] = predictions[unclear] != self._labels[unclear]
        if not bool(fell.any()):
            return
        self.without_class[self._active[fell & (predictions < 0)]] = True
        self._check_budget(images, self._clean, fell.nonzero().flatten())
        self.survived_any[self._active[fell]] = False

    def _classes(self, images: Tensor, by: FastNetwork) -> Tensor:
        """(m,) the network's classes of any m images: as a copy of it says, and where that is unclear as it says."""
        found = torch.empty(len(images), dtype=torch.int64, device=images.device)
        clear = torch.empty_like(found, dtype=torch.bool)

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
        most = min(self._batch.fits, len(self._all_labels))
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
                raise ThreatError(
                    f"{self._rules.name} proposed an image that exceeds its budget or [0, 1] by {excess:.3g}; "
                    "its verdicts would not count"
                )
