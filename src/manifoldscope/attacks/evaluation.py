"""Evaluate: attack a network with attacks and corruptions, and decide the outcome image by image.

Images that are misclassified when clean are not attacked. The network itself has the last word on every image that
counts as misclassified; a sample of the images is attacked by its own gradients too, where a copy gives the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import torch
from torch import Tensor, nn

from manifoldscope.attacks.contract import told
from manifoldscope.attacks.engine import Engine, Found
from manifoldscope.attacks.outcomes import OUTCOMES, Failures, FastPath, Outcomes
from manifoldscope.attacks.perturbation import Iterates, Outcome, Perturbation, as_attack
from manifoldscope.attacks.subject import Subject
from manifoldscope.errors import AttackError, DataError, shortened
from manifoldscope.seeds import generator
from manifoldscope.settings import check_setting
from manifoldscope.tables import conform
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.fast import SEEN, FastNetwork, faster
from manifoldscope.vision.images import ImageSet, as_image_set
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, as_network, first_pass, undisturbed

CHECKED = 50
"""One of this many attacked images is attacked with the network's own gradients as well, where a copy gives them;
without the stages that ask for none."""

COPIES = 10
"""How many tensors of the size of the images an attack holds, about: iterates, gradients, velocity, random numbers."""


def evaluate(
    network: Network | nn.Module,
    images: ImageSet,
    attacks: Perturbation | Sequence[Perturbation],
    *,
    seed: int = 0,
    batch_size: int = 128,
    iterate: Iterates = "both",
    keep_images: bool = False,
    names: Mapping[Perturbation, str] | None = None,
    fast: bool | FastNetwork = True,
    reuse: bool = False,
    misclassified: Tensor | None = None,
    clean_logits: Tensor | None = None,
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
            Attacks of other libraries draw for a whole batch, and so find other images with another `batch_size`.
        iterate: "both" reports the last iterate and any iterate, without stopping early, so that the last one is that
            of the full number of steps. "any" omits the last and drops images once misclassified, which is cheaper. An
            attack without iterates has one outcome, `robust_last`, in either case.
        keep_images: keep the image that each ends with: the last iterate; under "any" the first that is misclassified,
            and the last where none is. One that is not attacked, as under `reuse` and `misclassified`, stays clean.
        names: what the table calls an attack; its kind if omitted.
        fast: ask a faster copy of the network for gradients (see `faster`), and the network itself about every image
            that the copy misclassifies. A fiftieth of the images is attacked with the network alone as well. A copy
            that was made before will do.
        reuse: an image that is misclassified at a smaller strength of an attack counts as misclassified at a larger
            one, and is not attacked there; for attacks whose budgets are nested, with "any". Curves are then monotone
            by construction.
        misclassified: (n,) bool, images that are known to be misclassified: they are not attacked, and are not robust
            to any iterate; only with "any".
        clean_logits: (n, n_classes), what the network says of the clean images, where that is known; else it is asked.
        memory: how much may be taken; most of what is available if omitted. It changes the answer by rounding only.

    Raises:
        DataError: an image cannot be read, or is given twice; a loader or a dataset instead of images, with what to
            make of it.
        ModelError: the network gives NaN for every image, has fewer outputs than there are labels, or takes more
            memory than there is for a single image.
        AttackError: an attack broke its budget; nothing was asked for, or the same twice; reuse or
            misclassified without "any"; misclassified is not one truth an image, or clean_logits not one row.
    """
    network, images = as_network(network), as_image_set(images)
    given: object = attacks
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    wanted = [as_attack(each) for each in several]
    if not wanted or not len(images):
        raise AttackError(f"{len(wanted)} attacks and {len(images)} images; expected at least one of each")
    check_setting(AttackError, "iterate", iterate, Iterates)
    if reuse and iterate != "any":
        raise AttackError("reuse needs iterate='any': a last iterate at a larger strength is not that at a smaller one")
    if misclassified is not None and iterate != "any":
        raise AttackError("misclassified needs iterate='any': it says nothing of a last iterate")
    n = len(images)
    if misclassified is not None and not (_is_tensor(misclassified, n, ndim=1) and misclassified.dtype == torch.bool):
        raise AttackError(f"misclassified came as {told(misclassified)}; expected one truth for each of the {n} images")
    if clean_logits is not None and not (_is_tensor(clean_logits, n, ndim=2) and clean_logits.is_floating_point()):
        raise AttackError(f"clean_logits came as {told(clean_logits)}; expected one row for each of the {n} images")
    if not isinstance(names, Mapping | None):
        raise AttackError(f"names are {shortened(repr(names))}; expected a name by attack, as {{attack: 'pgd'}}")
    if not isinstance(memory, Memory | None):
        raise AttackError(f"memory = {shortened(repr(memory))}; expected a manifoldscope.vision.memory.Memory")
    called = [(names or {}).get(attack, attack.kind) for attack in wanted]
    _require_each_once(images, wanted, called)
    BatchSize(batch_size)  # which refuses what is no number of images
    with undisturbed(network), torch.no_grad():
        BatchSize(1).over(1, lambda where: first_pass(network, network.pixels(images, where)))
    search = _search(network, images, wanted, fast, batch_size)
    batch, own = _batches(network, images, wanted, search, batch_size, memory or Memory())
    known = torch.zeros(len(images), dtype=torch.bool, device="cpu") if misclassified is None else misclassified.cpu()
    before: dict[tuple[str, str], Tensor] = {}
    found: dict[int, _Attacked] = {}
    with undisturbed(network), undisturbed(search.network):
        work = _Evaluation(Subject.of(network, images, own, clean_logits), search, batch, own, seed)
        for place in sorted(range(len(wanted)), key=lambda place: wanted[place].strength):
            attack = wanted[place]
            kind = (attack.kind, attack.parameters)
            found[place] = work.attack(attack, iterate, keep_images, before.get(kind, known))
            if reuse and attack.nested and attack.iterative:
                before[kind] = known | ~found[place].robust_any
    ordered = [found[place] for place in range(len(wanted))]
    tables = [work.table(attack, one, iterate, name) for attack, one, name in zip(wanted, ordered, called, strict=True)]
    return Outcomes(
        conform(OUTCOMES, pl.concat(tables)),
        tuple(one.images for one in ordered if one.images is not None),
        FastPath(str(search), sum(one.n_checked for one in ordered), sum(one.n_differ for one in ordered))
        if search.means
        else None,
        Failures(
            int((work.subject.predictions < 0).sum()) + sum(int(one.without_class.sum()) for one in ordered),
            sum(int(one.without_gradient.sum()) for one in ordered),
            min((each.fits for each in (batch, own) if each.halved), default=None),
        ),
        tuple(one.misclassified_after for one in ordered),
        tuple(one.last_prediction for one in ordered),
    )


def _is_tensor(value: object, n: int, *, ndim: int) -> bool:
    return isinstance(value, Tensor) and value.ndim == ndim and len(value) == n


def _require_each_once(images: ImageSet, attacks: Sequence[Perturbation], called: Sequence[str]) -> None:
    """Raise before anything is attacked where rows of the table would not be told from each other."""
    image, n = Counter(images.names).most_common(1)[0]
    if n > 1:
        raise DataError(f"the image {image!r} is given {n} times; give each once")
    keys = [(name, attack.parameters, attack.strength) for name, attack in zip(called, attacks, strict=True)]
    (name, parameters, strength), n = Counter(keys).most_common(1)[0]
    if n > 1:
        raise AttackError(
            f"the attack {name} ({parameters}) at {strength:g} is given {n} times; give each once, and "
            "attacks of other libraries a name each"
        )


def _search(
    network: Network, images: ImageSet, attacks: Sequence[Perturbation], fast: bool | FastNetwork, batch_size: int
) -> FastNetwork:
    """What gradients are asked of."""
    if fast is False or not any(attack.asks_gradients and attack.alone for attack in attacks):
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
    """How many images fit into memory at a time: those under attack by `search`, and by the network itself."""
    pixels, gradient = network.pixels(images, slice(0, 1)), any(attack.asks_gradients for attack in attacks)
    beside = Footprint(0, COPIES * pixels.nbytes)

    def batch(asked: Network, most: int) -> BatchSize:
        fits = memory.batch(asked, pixels, most, gradient=gradient, beside=beside)
        return BatchSize(batch_size, fits if fits < most else batch_size)

    if not search.means:
        own = batch(network, batch_size)
        return own, own
    # of the network itself, a sample alone takes gradients
    return batch(search.network, batch_size), batch(network, min(batch_size, math.ceil(len(images) / CHECKED)))


@dataclass(eq=False)
class _Attacked:
    """What one attack at one strength found, on the CPU.

    Attributes:
        robust_any, robust_last, last_prediction: (n,) the outcomes; False where an image was not attacked.
        images: (n, channels, height, width) that each ended with, where they are asked for.
        without_class, without_gradient, misclassified_after: (n,) see `Found`.
        n_checked, n_differ: see `FastPath`.
    """

    robust_any: Tensor
    robust_last: Tensor
    last_prediction: Tensor
    images: Tensor | None
    without_class: Tensor
    without_gradient: Tensor
    misclassified_after: Tensor
    n_checked: int = 0
    n_differ: int = 0


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """What the attacks of one evaluation share."""

    subject: Subject
    search: FastNetwork
    batch: BatchSize
    own: BatchSize
    seed: int

    def attack(self, attack: Perturbation, iterate: Iterates, keep: bool, misclassified: Tensor) -> _Attacked:
        """One attack at one strength, on the images that are classified correctly so far."""
        subject = self.subject
        attack.refuse(subject.network.pixels(subject.images, slice(0, 1)).shape[1:], subject.logits.shape[1])
        attacked = subject.correct & ~misclassified
        chosen = attacked.nonzero().flatten()
        outcome: Outcome = iterate if attack.counts == "both" else attack.counts
        search = self.search if attack.alone else FastNetwork(subject.network)
        found = self._found(attack, attack.stages, chosen, outcome, keep, search)
        done = _Attacked(
            attacked & found.robust_any.cpu(),
            attacked & found.robust_last.cpu(),
            torch.where(attacked, found.last_prediction.cpu(), subject.predictions),
            found.images,
            found.without_class.cpu(),
            found.without_gradient.cpu(),
            found.misclassified_after.cpu(),
        )
        if search.means and attack.asks_gradients:
            sample = chosen[::CHECKED]
            stages = [stage for stage in attack.stages if stage.asks_gradients]
            again = self._found(attack, stages, sample, outcome, False, FastNetwork(subject.network))
            robust = "robust_any" if outcome == "any" else "robust_last"
            done.n_checked = len(sample)
            done.n_differ = int((getattr(found, robust) & ~getattr(again, robust))[sample].sum())
        return done

    def table(self, attack: Perturbation, found: _Attacked, iterate: Iterates, name: str) -> pl.DataFrame:
        """The rows of one attack at one strength."""
        nothing = [None] * len(self.subject.images)
        no_last, no_any = attack.iterative and iterate == "any", not attack.iterative
        return pl.DataFrame(
            {
                "image": list(self.subject.images.names),
                "label": self.subject.images.labels.tolist(),
                "clean_prediction": self.subject.predictions.tolist(),
                "last_prediction": nothing if no_last else found.last_prediction.tolist(),
                "robust_last": nothing if no_last else found.robust_last.tolist(),
                "robust_any": nothing if no_any else found.robust_any.tolist(),
            },
            schema_overrides={"last_prediction": pl.Int64, "robust_last": pl.Boolean, "robust_any": pl.Boolean},
        ).with_columns(
            model=pl.lit(self.subject.network.name),
            attack=pl.lit(name),
            parameters=pl.lit(attack.parameters),
            norm=pl.lit(attack.norm, dtype=pl.String),
            n_steps=pl.lit(attack.n_steps, dtype=pl.Int64),
            targeted=pl.lit(attack.targeted),
            strength=pl.lit(attack.strength),
        )

    def _found(
        self,
        attack: Perturbation,
        stages: Sequence[Perturbation],
        chosen: Tensor,
        outcome: Outcome,
        keep: bool,
        search: FastNetwork,
    ) -> Found:
        """What these stages of an attack make of the chosen images."""
        kept = self.subject.network.pixels(self.subject.images) if keep else None
        found = Found.of(self.subject.images.labels.to(self.subject.network.device), kept)
        engine = Engine(self.subject.network, search, self.batch if search.means else self.own, self.own)
        stream = partial(generator, self.seed, "threat", attack.kind)
        sources = partial(self.subject.source, stream=stream, ahead=self.batch.fits)
        engine.attack(stages, sources, found, chosen, outcome=outcome)
        return found
