"""The one runner: it attacks a network and decides the outcome image by image.

Gradients are found of full batches, although images that are misclassified when clean are not attacked and those that
are misclassified may leave: gradient descent has a batch of them under attack, and others come as these leave; attacks
with a loop of their own are given some batches at a time.

Where the device is quicker in bfloat16, a copy of the network in it may propose: an image is misclassified where
float32 says so of what was proposed, and those that are robust are attacked again in float32, as if nothing had been
proposed. That pays where few are robust, which scouts tell: some images that are attacked first, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
import torch
from torch import Tensor, nn

from manifoldscope.attacks.outcomes import Failures, FastPath, Outcomes
from manifoldscope.attacks.perturbation import Perturbation
from manifoldscope.attacks.target import Iterate, Rules, Target
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.seeds import generator
from manifoldscope.tables import conform
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.fast import SEEN, FastNetwork, faster
from manifoldscope.vision.images import ImageSet, as_image_set, batches
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, as_network, predicted, undisturbed

CHECKED = 50
"""One of this many attacked images is attacked with the network's own gradients as well, where a copy gives them."""

SCOUTS = 32
"""One of that many images, and no fewer than `FEWEST_SCOUTS` of them, tells whether it pays that bfloat16 proposes."""

FEWEST_SCOUTS = 8

PAYS = 1 / 3
"""Share of the gradients of an attack that robust images may need once more, for proposals to pay."""

COPIES = 10
"""How many tensors of the size of the images an attack holds, about: iterates, gradients, velocity, random numbers."""

TOGETHER = 4
POOL_BYTES = 4 * 2**20
"""That many batches are given to an attack that is not rolling, or more where their pixels take no more than these."""


def evaluate(
    network: Network | nn.Module,
    images: ImageSet,
    attacks: Perturbation | Sequence[Perturbation],
    *,
    seed: int = 0,
    batch_size: int = 128,
    iterate: Iterate = "both",
    keep_images: bool = False,
    names: Mapping[Perturbation, str] | None = None,
    fast: bool | FastNetwork = True,
    reuse: bool = False,
    misclassified: Tensor | None = None,
    memory: Memory | None = None,
) -> Outcomes:
    """Attack every image with every attack or corruption, and decide the outcome image by image.

    Where the network gives NaN or infinity for an image, it has given no class: that image counts as misclassified, and
    `Outcomes.failures` says how many there were. Where it gives them as a gradient, that step stays where it is.

    Args:
        network: found again as it was: mode, flags, gradients and buffers. A plain module is shown pixels in [0, 1]
            without normalisation.
        images: labelled images; the network's own preprocessing brings them to pixels in [0, 1].
        attacks: one attack or corruption, or several.
        seed: the same seed gives an image of the same name the same random start, for every network, in whatever
            company, and (scaled) for every strength.
        batch_size: images at a time, or fewer where memory allows no more; changes the answer by rounding only.
            Attacks of a library draw for a whole batch, and so find other images with another `batch_size`.
        iterate: "both" reports the last iterate and any iterate, without stopping early, so that the last one is that
            of the full number of steps. "any" omits the last and drops images once misclassified, which is cheaper. A
            attack without iterates has one outcome, `robust_last`, in either case.
        keep_images: keep the last iterates (only with "both").
        names: what the table calls an attack; its kind if omitted.
        fast: ask a faster copy of the network (see `faster`), and the network itself wherever the copy's word on a
            class is not clear; have bfloat16 propose where that pays. A fiftieth of the images is shown to, and
            attacked with, the network alone as well. A copy that was made before will do.
        reuse: an image that is misclassified at a smaller strength of an attack counts as misclassified at a larger
            one, and is not attacked there; for attacks whose budgets are nested, with "any". Curves are then monotone
            by construction.
        misclassified: (n,) bool, images that are known to be misclassified: they are not attacked, and are not robust
            to any iterate; only with "any".
        memory: how much may be taken; most of what is available if omitted. It changes the answer by rounding only.

    Raises:
        DataError: an image cannot be read; a loader or a dataset instead of images, with what to make of it.
        ModelError: the network gives NaN for every image, has fewer outputs than there are labels, or takes more
            memory than there is for a single image.
        AttackError: an attack broke its budget; nothing was asked for; images to keep under "any"; reuse or
            misclassified without "any"; misclassified is not one truth an image.
    """
    network, images = as_network(network), as_image_set(images)
    wanted = [attacks] if isinstance(attacks, Perturbation) else list(attacks)
    if not wanted or not len(images):
        raise AttackError(f"{len(wanted)} attacks and {len(images)} images; expected at least one of each")
    if keep_images and iterate == "any":
        raise AttackError("keep_images needs iterate='both': under 'any' an image leaves before its last iterate")
    if reuse and iterate != "any":
        raise AttackError("reuse needs iterate='any': a last iterate at a larger strength is not that at a smaller one")
    if misclassified is not None and iterate != "any":
        raise AttackError("misclassified needs iterate='any': it says nothing of a last iterate")
    if misclassified is not None and (misclassified.dtype != torch.bool or misclassified.shape != (len(images),)):
        raise AttackError(
            f"misclassified has shape {tuple(misclassified.shape)} and type {misclassified.dtype}; expected one truth "
            f"for each of the {len(images)} images"
        )
    BatchSize(batch_size)  # which refuses what is no number of images
    search = _search(network, images, wanted, fast, batch_size)
    memory = memory or Memory()
    batch, own = _batches(network, images, wanted, search, batch_size, memory)
    known = torch.zeros(len(images), dtype=torch.bool) if misclassified is None else misclassified.cpu()
    before: dict[tuple[str, str], Tensor] = {}
    found: dict[int, _Found] = {}
    with undisturbed(network), undisturbed(search.network):
        clean, dropped = _clean(network, images, search, batch, own)
        if dropped:
            search = FastNetwork(network)
            batch, own = _batches(network, images, wanted, search, batch_size, memory)
        work = _Evaluation(network, images, clean, search, batch, own, seed)
        for place in sorted(range(len(wanted)), key=lambda place: wanted[place].strength):
            attack = wanted[place]
            kind = (attack.kind, attack.parameters)
            found[place] = work.attack(attack, iterate, keep_images, before.get(kind, known))
            if reuse and attack.nested and attack.iterative:
                before[kind] = known | ~found[place].robust_any
    ordered = [found[place] for place in range(len(wanted))]
    tables = [
        work.table(attack, one, iterate, (names or {}).get(attack, attack.kind))
        for attack, one in zip(wanted, ordered, strict=True)
    ]
    return Outcomes(
        conform("outcomes", pl.concat(tables)),
        tuple(one.images for one in ordered) if keep_images else (),
        _fast_path(search, ordered) if search.means else dropped,
        Failures(
            work.clean.n_without_class + sum(int(one.without_class.sum()) for one in ordered),
            sum(int(one.without_gradient.sum()) for one in ordered),
            min((each.fits for each in (batch, own) if each.halved), default=None),
        ),
    )


def _search(
    network: Network, images: ImageSet, attacks: Sequence[Perturbation], fast: bool | FastNetwork, batch_size: int
) -> FastNetwork:
    """What gradients are asked of."""
    if fast is False or not any(attack.asks_gradients for attack in attacks):
        return FastNetwork(network)
    if isinstance(fast, FastNetwork):
        return fast
    return faster(network, network.pixels(images, slice(0, min(SEEN, batch_size))).to(network.device))


def _batches(
    network: Network,
    images: ImageSet,
    attacks: Sequence[Perturbation],
    search: FastNetwork,
    batch_size: int,
    memory: Memory,
) -> tuple[BatchSize, BatchSize]:
    """How many images fit into memory at a time: with gradients by `search`, and by the network itself."""
    pixels, gradient = network.pixels(images, slice(0, 1)), any(attack.asks_gradients for attack in attacks)
    n = min(batch_size, len(images))
    with_own_loop = any(not attack.rolling for attack in attacks)
    held = COPIES * pixels.nbytes

    def batch(asked: Network, most: int) -> BatchSize:
        beside = Footprint(held * most if with_own_loop else 0, held)
        fits = memory.batch(asked, pixels, most, gradient=gradient, beside=beside)
        return BatchSize(batch_size, fits if fits < most else batch_size)

    if not search.means:
        own = batch(network, n)
        return own, own
    # Beside attacks with a loop of their own, the network itself gives the gradients of a sample alone.
    return batch(search.network, n), batch(network, n if with_own_loop else math.ceil(len(images) / CHECKED))


@dataclass(frozen=True, eq=False)
class _Clean:
    """What the network says of the clean images.

    Attributes:
        logits, predictions: (n, n_classes) and (n,), on the CPU.
        image_bytes: of the pixels of one image.
    """

    logits: Tensor
    predictions: Tensor
    image_bytes: int

    @property
    def n_without_class(self) -> int:
        return int((self.predictions < 0).sum())


def _clean(
    network: Network, images: ImageSet, search: FastNetwork, batch: BatchSize, own: BatchSize
) -> tuple[_Clean, FastPath | None]:
    """The clean pass; and what is to be said of the copy where it clearly says something else, and must not be used."""
    logits = _logits(search.network, images, batch)
    clear = search.clear(logits)
    asked = ~clear
    if search.means:
        asked[::CHECKED] = True
    if bool(asked.any()):
        by_copy = predicted(logits[asked])
        logits[asked] = _logits(network, images.subset(asked), own)
        differ = (by_copy != predicted(logits[asked])) & clear[asked]
        if bool(differ.any()):
            clean, _ = _clean(network, images, FastNetwork(network), own, own)
            return clean, FastPath(str(search), int(asked.sum()), int(differ.sum()), dropped=True)
    predictions = predicted(logits)
    if bool((predictions < 0).all()):
        raise ModelError(
            f"{network.name} gave NaN or infinite logits for all {len(images)} images; no outcome can be given"
        )
    n_classes, largest = logits.shape[1], int(images.labels.max())
    if largest >= n_classes:
        raise ModelError(
            f"{network.name} has {n_classes} outputs, but label {largest} occurs; "
            "the network and the dataset do not fit"
        )
    return _Clean(logits, predictions, network.pixels(images, slice(0, 1)).nbytes), None


def _logits(network: Network, images: ImageSet, batch: BatchSize) -> Tensor:
    """(n, n_classes), on the CPU."""
    parts: list[Tensor] = []

    def ask(where: slice) -> None:
        with torch.no_grad():
            parts.append(network(network.pixels(images, where).to(network.device)).cpu())

    batch.over(len(images), ask)
    return torch.cat(parts)


@dataclass(eq=False)
class _Found:
    """What one attack at one strength found, on the CPU; filled in as images are attacked.

    Attributes:
        robust_any, robust_last, last_prediction: (n,) the outcomes; False where an image was not attacked.
        images: (n, channels, height, width) the last iterates, where they are asked for.
        without_class, without_gradient: (n,) see `Target`.
        n_gradients: see `Target`.
        proposed: whether bfloat16 proposed.
        n_checked, n_differ: see `FastPath`.
    """

    robust_any: Tensor
    robust_last: Tensor
    last_prediction: Tensor
    images: Tensor
    without_class: Tensor
    without_gradient: Tensor
    n_gradients: int = 0
    proposed: bool = False
    n_checked: int = 0
    n_differ: int = 0


def _fast_path(search: FastNetwork, found: Sequence[_Found]) -> FastPath:
    """What was done to go faster, and what came of it."""
    means = f"{search}, bfloat16 to propose" if any(one.proposed for one in found) else str(search)
    return FastPath(means, sum(one.n_checked for one in found), sum(one.n_differ for one in found))


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """What the attacks of one evaluation share."""

    network: Network
    images: ImageSet
    clean: _Clean
    search: FastNetwork
    batch: BatchSize
    own: BatchSize
    seed: int

    def attack(self, attack: Perturbation, iterate: Iterate, keep: bool, misclassified: Tensor) -> _Found:
        """One attack at one strength, on the images that are classified correctly so far."""
        correct = self.clean.predictions == self.images.labels
        chosen = (correct & ~misclassified).nonzero().flatten()
        rules = Rules(
            f"{attack.kind} ({attack.strength_setting} {attack.strength:g})",
            attack.excess,
            attack.iterative,
            iterate,
            keep,
        )
        outcome = "robust_any" if iterate == "any" and attack.iterative else "robust_last"
        found = self._nothing(keep)
        self._attack(found, attack, rules, chosen, outcome)
        if self.search.means and attack.asks_gradients:
            sample = chosen[::CHECKED]
            again = self._nothing(False)
            self._attack_once(again, attack, replace(rules, keep=False), sample, FastNetwork(self.network))
            differ = getattr(found, outcome)[sample] != getattr(again, outcome)[sample]
            found.n_checked, found.n_differ = len(sample), int(differ.sum())
        return found

    def table(self, attack: Perturbation, found: _Found, iterate: Iterate, name: str) -> pl.DataFrame:
        """The rows of one attack at one strength."""
        nothing = [None] * len(self.images)
        no_last, no_any = attack.iterative and iterate == "any", not attack.iterative
        return pl.DataFrame(
            {
                "image": list(self.images.names),
                "label": self.images.labels.tolist(),
                "clean_prediction": self.clean.predictions.tolist(),
                "last_prediction": nothing if no_last else found.last_prediction.tolist(),
                "robust_last": nothing if no_last else found.robust_last.tolist(),
                "robust_any": nothing if no_any else found.robust_any.tolist(),
            },
            schema_overrides={"last_prediction": pl.Int64, "robust_last": pl.Boolean, "robust_any": pl.Boolean},
        ).with_columns(
            model=pl.lit(self.network.name),
            attack=pl.lit(name),
            parameters=pl.lit(attack.parameters),
            norm=pl.lit(attack.norm, dtype=pl.String),
            n_steps=pl.lit(attack.n_steps, dtype=pl.Int64),
            targeted=pl.lit(attack.targeted),
            strength=pl.lit(attack.strength),
        )

    def _nothing(self, keep: bool) -> _Found:
        """What is known before an image is attacked."""
        none = torch.zeros(len(self.images), dtype=torch.bool)
        pixels = self.network.pixels(self.images) if keep else torch.empty(0)
        predictions = self.clean.predictions.clone()
        return _Found(none, none.clone(), predictions, pixels, none.clone(), none.clone())

    def _attack(self, found: _Found, attack: Perturbation, rules: Rules, chosen: Tensor, outcome: str) -> None:
        """Attack the chosen images: in float32, or with proposals in bfloat16 where scouts say that it pays."""
        in_float32 = replace(self.search, proposer=None)
        every = min(SCOUTS, len(chosen) // FEWEST_SCOUTS)
        if self.search.proposer is None or not attack.iterative or every < 2:
            self._attack_once(found, attack, rules, chosen, in_float32)
            return
        scout = torch.arange(len(chosen)) % every == 0
        scouts, others = chosen[scout], chosen[~scout]
        self._attack_once(found, attack, rules, scouts, in_float32)
        n_stand = int(getattr(found, outcome)[scouts].sum())
        found.proposed = n_stand * attack.passes[1] < PAYS * found.n_gradients
        if not found.proposed:
            self._attack_once(found, attack, rules, others, in_float32)
            return
        self._attack_once(found, attack, rules, others, self.search)
        again = others[getattr(found, outcome)[others]]
        stood = found.robust_any[again]
        self._attack_once(found, attack, rules, again, in_float32)
        found.robust_any[again] &= (
            stood  # what a proposal misclassified on the way is misclassified, whatever the last iterate
        )

    def _attack_once(
        self, found: _Found, attack: Perturbation, rules: Rules, chosen: Tensor, search: FastNetwork
    ) -> None:
        """Attack the chosen images, and fill in what comes of it."""
        # A target holds the last iterates of all that it is given, where they are asked for.
        batch = self.batch if search.means else self.own
        for places in self._pools(chosen, batch, whole=attack.rolling and not rules.keep):
            target = self._target(places, rules, attack, search, batch)
            attack.perturb(target)
            if target.n_waiting:
                raise AttackError(
                    f"{rules.name} left {target.n_waiting} of {len(places)} images that waited; expected it to call "
                    "target.admit until none waits, or to say rolling = False"
                )
            target.settle()
            found.robust_any[places] = target.robust_any.cpu()
            found.robust_last[places] = target.robust_last.cpu()
            found.last_prediction[places] = target.last_prediction.cpu()
            if rules.keep:
                found.images[places] = target.last_images.cpu()
            found.without_class[places] |= target.without_class.cpu()
            found.without_gradient[places] |= target.without_gradient.cpu()
            found.n_gradients += int(target.n_gradients.sum())

    def _target(
        self, places: Tensor, rules: Rules, attack: Perturbation, search: FastNetwork, batch: BatchSize
    ) -> Target:
        return Target(
            self.network,
            self.images.subset(places),
            self.clean.logits[places],
            rules,
            stream=partial(generator, self.seed, "threat", attack.kind),
            batch=batch,
            own=self.own,
            search=search,
            at_once=batch.fits if attack.rolling else None,
        )

    def _pools(self, chosen: Tensor, batch: BatchSize, *, whole: bool) -> Iterator[Tensor]:
        """The places of the images that an attack is given together: all, or whole batches and what is left."""
        n_batches = max(TOGETHER, POOL_BYTES // (self.clean.image_bytes * batch.wanted))
        for where in batches(len(chosen), max(1, len(chosen)) if whole else n_batches * batch.wanted):
            yield chosen[where]
