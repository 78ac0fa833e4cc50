"""The one runner: it attacks a network with threats and judges the outcome image by image.

Gradients are found of full batches, although images that are misclassified when clean are not attacked and those that
fall may leave: gradient descent has a batch of them under attack, and others come as these leave; threats with a
loop of their own are given some batches at a time.

Where the device is quicker in bfloat16, a copy of the network in it may propose: an image has fallen where float32 says
so of what was proposed, and those that stand are attacked again in float32, as if nothing had been proposed. That pays
where few stand, which scouts tell: some images that are attacked first, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
import torch
from torch import Tensor, nn

from manifoldscope.errors import ModelError, ThreatError
from manifoldscope.robustness.target import Iterate, Rules, Target
from manifoldscope.robustness.threat import Threat
from manifoldscope.robustness.verdicts import Failures, FastPath, Verdicts
from manifoldscope.seeds import generator
from manifoldscope.tables import conform
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.fast import SEEN, FastNetwork, faster
from manifoldscope.vision.images import ImageSet, as_image_set, batches
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, as_network, predicted, undisturbed

CHECKED = 50
"""One of so many attacked images is attacked with the network's own gradients as well, where a copy gives them."""

SCOUTS = 32
"""One of so many images, and no fewer than `FEWEST_SCOUTS` of them, tells whether it pays that bfloat16 proposes."""

FEWEST_SCOUTS = 8

PAYS = 1 / 3
"""Share of the gradients of an attack that those who stand may need once more, for proposals to pay."""

COPIES = 10
"""How many tensors of the size of the images an attack holds, about: iterates, gradients, velocity, random numbers."""

TOGETHER = 4
POOL_BYTES = 4 * 2**20
"""So many batches are given to a threat that is not rolling, or more where their pixels take no more than these."""


def evaluate(
    network: Network | nn.Module,
    images: ImageSet,
    threats: Threat | Sequence[Threat],
    *,
    seed: int = 0,
    batch_size: int = 128,
    iterate: Iterate = "both",
    keep_images: bool = False,
    names: Mapping[Threat, str] | None = None,
    fast: bool | FastNetwork = True,
    reuse: bool = False,
    fallen: Tensor | None = None,
    memory: Memory | None = None,
) -> Verdicts:
    """Attack every image with every threat and judge the outcome image by image.

    Where the network gives NaN or infinity for an image, it has given no class: that image counts as misclassified, and
    `Verdicts.failures` says how many there were. Where it gives them as a gradient, that step stays where it is.

    Args:
        network: found again as it was: mode, flags, gradients and buffers. A plain module is shown pixels in [0, 1]
            without normalisation.
        images: labelled images; the network's own preprocessing brings them to pixels in [0, 1].
        threats: one threat or several.
        seed: the same seed gives an image of the same name the same random start, for every network, in whatever
            company, and (scaled) for every strength.
        batch_size: images at a time, or fewer where memory allows no more; changes the answer by rounding only.
            Attacks of a library draw for a whole batch, and so find other images with another `batch_size`.
        iterate: "both" judges the last iterate and any iterate, without stopping early, so that the last one is that
            of the full number of steps. "any" leaves the last out and drops images as they fall, which is cheaper. A
            threat without iterates has one verdict, `survived_last`, in either case.
        keep_images: keep the last iterates (only with "both").
        names: what the table calls a threat; its kind where left out.
        fast: ask a faster copy of the network (see `faster`), and the network itself wherever the copy's word on a
            class is not clear; have bfloat16 propose where that pays. A fiftieth of the images is shown to, and
            attacked with, the network alone as well. A copy that was made before will do.
        reuse: an image that fell at a smaller strength of a threat has fallen at a larger one, and is not attacked
            there; for threats whose budgets are nested, with "any". Curves are then monotone by construction.
        fallen: (n,) bool, images that are known to have fallen: they are not attacked, and have not survived any
            iterate; only with "any".
        memory: how much may be taken; most of what is available if omitted. It changes the answer by rounding only.

    Raises:
        DataError: an image cannot be read; a loader or a dataset instead of images, with what to make of it.
        ModelError: the network gives NaN for every image, has fewer outputs than there are labels, or takes more
            memory than there is for a single image.
        ThreatError: a threat broke its budget; nothing was asked for; images to keep under "any"; reuse or
            fallen without "any"; fallen is not one truth an image.
    """
    network, images = as_network(network), as_image_set(images)
    wanted = [threats] if isinstance(threats, Threat) else list(threats)
    if not wanted or not len(images):
        raise ThreatError(f"{len(wanted)} threats and {len(images)} images; expected at least one of each")
    if keep_images and iterate == "any":
        raise ThreatError("keep_images needs iterate='both': under 'any' an image leaves before its last iterate")
    if reuse and iterate != "any":
        raise ThreatError("reuse needs iterate='any': a last iterate at a larger strength is not that at a smaller one")
    if fallen is not None and iterate != "any":
        raise ThreatError("fallen needs iterate='any': it says nothing of a last iterate")
    if fallen is not None and (fallen.dtype != torch.bool or fallen.shape != (len(images),)):
        raise ThreatError(
            f"fallen has shape {tuple(fallen.shape)} and type {fallen.dtype}; expected one truth for each of the "
            f"{len(images)} images"
        )
    BatchSize(batch_size)  # which refuses what is no number of images
    search = _search(network, images, wanted, fast, batch_size)
    memory = memory or Memory()
    batch, own = _batches(network, images, wanted, search, batch_size, memory)
    known = torch.zeros(len(images), dtype=torch.bool) if fallen is None else fallen.cpu()
    fell: dict[tuple[str, str], Tensor] = {}
    found: dict[int, _Found] = {}
    with undisturbed(network), undisturbed(search.network):
        clean, dropped = _clean(network, images, search, batch, own)
        if dropped:
            search = FastNetwork(network)
            batch, own = _batches(network, images, wanted, search, batch_size, memory)
        work = _Evaluation(network, images, clean, search, batch, own, seed)
        for place in sorted(range(len(wanted)), key=lambda place: wanted[place].strength):
            threat = wanted[place]
            kind = (threat.kind, threat.parameters)
            found[place] = work.attack(threat, iterate, keep_images, fell.get(kind, known))
            if reuse and threat.nested and threat.iterative:
                fell[kind] = known | ~found[place].survived_any
    ordered = [found[place] for place in range(len(wanted))]
    tables = [
        work.table(threat, one, iterate, (names or {}).get(threat, threat.kind))
        for threat, one in zip(wanted, ordered, strict=True)
    ]
    return Verdicts(
        conform("verdicts", pl.concat(tables)),
        tuple(one.images for one in ordered) if keep_images else (),
        _fast_path(search, ordered) if search.means else dropped,
        Failures(
            work.clean.n_without_class + sum(int(one.without_class.sum()) for one in ordered),
            sum(int(one.without_gradient.sum()) for one in ordered),
            min((each.fits for each in (batch, own) if each.halved), default=None),
        ),
    )


def _search(
    network: Network, images: ImageSet, threats: Sequence[Threat], fast: bool | FastNetwork, batch_size: int
) -> FastNetwork:
    """What gradients are asked of."""
    if fast is False or not any(threat.asks_gradients for threat in threats):
        return FastNetwork(network)
    if isinstance(fast, FastNetwork):
        return fast
    return faster(network, network.pixels(images, slice(0, min(SEEN, batch_size))).to(network.device))


def _batches(
    network: Network, images: ImageSet, threats: Sequence[Threat], search: FastNetwork, batch_size: int, memory: Memory
) -> tuple[BatchSize, BatchSize]:
    """How many images fit into memory at a time: with gradients by `search`, and by the network itself."""
    pixels, gradient = network.pixels(images, slice(0, 1)), any(threat.asks_gradients for threat in threats)
    n = min(batch_size, len(images))
    with_own_loop = any(not threat.rolling for threat in threats)
    held = COPIES * pixels.nbytes

    def batch(asked: Network, most: int) -> BatchSize:
        beside = Footprint(held * most if with_own_loop else 0, held)
        fits = memory.batch(asked, pixels, most, gradient=gradient, beside=beside)
        return BatchSize(batch_size, fits if fits < most else batch_size)

    if not search.means:
        own = batch(network, n)
        return own, own
    # Beside threats with a loop of their own, the network itself gives the gradients of a sample alone.
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
            f"{network.name} gave NaN or infinite logits for all {len(images)} images; no verdict can be given"
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
    """What one threat at one strength found, on the CPU; filled in as images are attacked.

    Attributes:
        survived_any, survived_last, last_prediction: (n,) the verdicts; False where an image was not attacked.
        images: (n, channels, height, width) the last iterates, where they are kept.
        without_class, without_gradient: (n,) see `Target`.
        n_gradients: see `Target`.
        proposed: whether bfloat16 proposed.
        n_checked, n_differ: see `FastPath`.
    """

    survived_any: Tensor
    survived_last: Tensor
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

    def attack(self, threat: Threat, iterate: Iterate, keep: bool, fallen: Tensor) -> _Found:
        """One threat at one strength, on the images that the network knows when clean and that have not fallen."""
        correct = self.clean.predictions == self.images.labels
        chosen = (correct & ~fallen).nonzero().flatten()
        rules = Rules(
            f"{threat.kind} ({threat.strength_setting} {threat.strength:g})",
            threat.excess,
            threat.iterative,
            iterate,
            keep,
        )
        verdict = "survived_any" if iterate == "any" and threat.iterative else "survived_last"
        found = self._nothing(keep)
        self._attack(found, threat, rules, chosen, verdict)
        if self.search.means and threat.asks_gradients:
            sample = chosen[::CHECKED]
            again = self._nothing(False)
            self._attack_once(again, threat, replace(rules, keep=False), sample, FastNetwork(self.network))
            differ = getattr(found, verdict)[sample] != getattr(again, verdict)[sample]
            found.n_checked, found.n_differ = len(sample), int(differ.sum())
        return found

    def table(self, threat: Threat, found: _Found, iterate: Iterate, name: str) -> pl.DataFrame:
        """The rows of one threat at one strength."""
        nothing = [None] * len(self.images)
        no_last, no_any = threat.iterative and iterate == "any", not threat.iterative
        return pl.DataFrame(
            {
                "image": list(self.images.names),
                "label": self.images.labels.tolist(),
                "clean_prediction": self.clean.predictions.tolist(),
                "last_prediction": nothing if no_last else found.last_prediction.tolist(),
                "survived_last": nothing if no_last else found.survived_last.tolist(),
                "survived_any": nothing if no_any else found.survived_any.tolist(),
            },
            schema_overrides={"last_prediction": pl.Int64, "survived_last": pl.Boolean, "survived_any": pl.Boolean},
        ).with_columns(
            model=pl.lit(self.network.name),
            threat=pl.lit(name),
            parameters=pl.lit(threat.parameters),
            strength=pl.lit(threat.strength),
        )

    def _nothing(self, keep: bool) -> _Found:
        """What is known before an image is attacked."""
        none = torch.zeros(len(self.images), dtype=torch.bool)
        pixels = self.network.pixels(self.images) if keep else torch.empty(0)
        predictions = self.clean.predictions.clone()
        return _Found(none, none.clone(), predictions, pixels, none.clone(), none.clone())

    def _attack(self, found: _Found, threat: Threat, rules: Rules, chosen: Tensor, verdict: str) -> None:
        """Attack the chosen images: in float32, or with proposals in bfloat16 where scouts say that it pays."""
        in_float32 = replace(self.search, proposer=None)
        every = min(SCOUTS, len(chosen) // FEWEST_SCOUTS)
        if self.search.proposer is None or not threat.iterative or every < 2:
            self._attack_once(found, threat, rules, chosen, in_float32)
            return
        scout = torch.arange(len(chosen)) % every == 0
        scouts, others = chosen[scout], chosen[~scout]
        self._attack_once(found, threat, rules, scouts, in_float32)
        n_stand = int(getattr(found, verdict)[scouts].sum())
        found.proposed = n_stand * threat.passes[1] < PAYS * found.n_gradients
        if not found.proposed:
            self._attack_once(found, threat, rules, others, in_float32)
            return
        self._attack_once(found, threat, rules, others, self.search)
        again = others[getattr(found, verdict)[others]]
        stood = found.survived_any[again]
        self._attack_once(found, threat, rules, again, in_float32)
        found.survived_any[again] &= stood  # what a proposal felled on the way has fallen, whatever the last iterate

    def _attack_once(self, found: _Found, threat: Threat, rules: Rules, chosen: Tensor, search: FastNetwork) -> None:
        """Attack the chosen images, and fill in what comes of it."""
        # A target holds the last iterates of all that it is given, where they are kept.
        batch = self.batch if search.means else self.own
        for places in self._pools(chosen, batch, whole=threat.rolling and not rules.keep):
            target = self._target(places, rules, threat, search, batch)
            threat.perturb(target)
            if target.n_waiting:
                raise ThreatError(
                    f"{rules.name} left {target.n_waiting} of {len(places)} images that waited; expected it to call "
                    "target.admit until none waits, or to say rolling = False"
                )
            target.settle()
            found.survived_any[places] = target.survived_any.cpu()
            found.survived_last[places] = target.survived_last.cpu()
            found.last_prediction[places] = target.last_prediction.cpu()
            if rules.keep:
                found.images[places] = target.last_images.cpu()
            found.without_class[places] |= target.without_class.cpu()
            found.without_gradient[places] |= target.without_gradient.cpu()
            found.n_gradients += int(target.n_gradients.sum())

    def _target(self, places: Tensor, rules: Rules, threat: Threat, search: FastNetwork, batch: BatchSize) -> Target:
        return Target(
            self.network,
            self.images.subset(places),
            self.clean.logits[places],
            rules,
            stream=partial(generator, self.seed, "threat", threat.kind),
            batch=batch,
            own=self.own,
            search=search,
            at_once=batch.fits if threat.rolling else None,
        )

    def _pools(self, chosen: Tensor, batch: BatchSize, *, whole: bool) -> Iterator[Tensor]:
        """The places of the images that a threat is given together: all, or whole batches and what is left."""
        n_batches = max(TOGETHER, POOL_BYTES // (self.clean.image_bytes * batch.wanted))
        for where in batches(len(chosen), max(1, len(chosen)) if whole else n_batches * batch.wanted):
            yield chosen[where]
