"""Threat: what may be done to an image; Verdicts: what a network then says; and the one runner that judges.

A threat only proposes. It asks the `Target` for logits and gradients, and the target watches every image that it is
shown: it checks the budget and remembers which images were misclassified. Success is never taken on a threat's word.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import polars as pl
import torch
from scipy import stats
from torch import Tensor

from manifoldscope.errors import ModelError, ThreatError
from manifoldscope.registry import Registry
from manifoldscope.seeds import generator as seeded
from manifoldscope.tables import conform, parameters_text
from manifoldscope.vision.fast import FastNetwork, faster
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, undisturbed

THREATS = Registry("threat", package="manifoldscope.robustness")
"""Every threat: a frozen dataclass derived from `Threat`, whose fields are its settings."""

Iterate = Literal["both", "any"]
Loss = Callable[[Tensor], Tensor]

_CHECKED = 25
"""In every other batch, of so many images one is also attacked with the network's own gradients.

Two batches with few images each would cost twice as much as one with as many: small batches are slow.
"""

_SEEN_BY_A_COPY = 8
"""Images on which a faster copy is compared with its network."""

BUDGET_TOLERANCE = 1e-6
"""How far rounding may carry a float32 pixel past its budget: 16 units in the last place of 1."""


class Threat(ABC):
    """What may be done to an image, at one strength.

    A subclass is a frozen, keyword-only dataclass that names its strength, proposes images, and bounds its budget.
    """

    kind: ClassVar[str]
    """The registered name."""
    strength_setting: ClassVar[str]
    """The field that a study sweeps ("epsilon"); its plural with an s is the study file's key for a list of values."""
    iterative: ClassVar[bool]
    """Whether the threat has iterates, so that "last" and "any" can differ."""
    nested: ClassVar[bool] = False
    """Whether what a smaller strength allows, a larger one allows as well."""
    ordered: ClassVar[bool] = True
    """Whether a larger strength is meant to fell more images."""

    @property
    def strength(self) -> float:
        """The swept value."""
        return float(getattr(self, self.strength_setting))

    @property
    def parameters(self) -> str:
        """What else defines the threat, as canonical text."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # a dataclass
        return parameters_text({k: v for k, v in settings.items() if k != self.strength_setting})

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and gradient passes an image costs at most, beside the clean one: what a forecast needs."""
        return (1, 0)

    @abstractmethod
    def perturb(self, target: Target, generator: torch.Generator) -> None:
        """Attack the images of `target`, showing it each iterate, and the last one through `target.conclude`."""

    @abstractmethod
    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        """(n,) by how much each perturbed image exceeds the budget, in the budget's unit; at most 0 within it."""


class Target:
    """The images under attack, as a threat sees them, and the judge of what it does to them.

    Only images that were classified correctly when clean are attacked. When nothing but "any" is asked for, images
    leave as they fall: `clean` and `labels` shrink, and `standing` shrinks a threat's own tensors alike. Batches that
    shrink have only a few sizes, and are filled with images whose verdict is known and stays as it is.
    """

    def __init__(
        self,
        network: Network,
        clean: Tensor,
        labels: Tensor,
        threat: Threat,
        iterate: Iterate,
        *,
        search: Network | None = None,
        attacked: Tensor | None = None,
    ) -> None:
        """`search` is a copy of the network that answers sooner, for gradients; `attacked` (n,) leaves images out."""
        self._network, self._threat, self._iterate = network, threat, iterate
        self._search = network if search is None else search
        self._all_clean, self._all_labels = clean, labels
        with torch.no_grad():
            self._clean_logits = self._checked(network(clean))
        self.clean_prediction = self._clean_logits.argmax(1)
        correct = self.clean_prediction == labels
        if attacked is not None:
            correct &= attacked
        self.survived_any = correct.clone()
        self.survived_last = correct.clone()
        self.last_prediction = self.clean_prediction.clone()
        self.last_images = clean.clone()
        self._shrinks = iterate == "any" and threat.iterative
        self._active = self._filled(correct) if self._shrinks else correct.nonzero().flatten()

    def _filled(self, wanted: Tensor) -> Tensor:
        """The places (of a mask) that are wanted, and others to make their number one of a few.

        Convolutions are prepared anew for each size of batch, which costs as much as some steps of the attack; so a
        batch that shrinks has only the sizes n, n / 2, n / 4, ... Those that fill it are attacked in vain.
        """
        n_wanted = int(wanted.sum())
        if not n_wanted:
            return wanted.nonzero().flatten()
        size = _bucket(n_wanted, len(self._all_clean))
        return wanted.to(torch.int8).argsort(descending=True, stable=True)[:size].sort().values

    @property
    def clean(self) -> Tensor:
        """(n, channels, height, width): the clean images still under attack."""
        return self._all_clean[self._active]

    @property
    def labels(self) -> Tensor:
        """(n,): their labels."""
        return self._all_labels[self._active]

    def of_active(self, whole: Tensor) -> Tensor:
        """The part of a tensor over the whole batch that belongs to the images still under attack."""
        return whole[self._active]

    @property
    def whole(self) -> Tensor:
        """The clean images of the whole batch: draw random numbers for all, so that none depends on the others."""
        return self._all_clean

    @property
    def whole_labels(self) -> Tensor:
        """(n,): the labels of the whole batch."""
        return self._all_labels

    @property
    def whole_clean_logits(self) -> Tensor:
        """(n, n_classes): what the network says of the whole batch when clean."""
        return self._clean_logits

    def gradient(self, images: Tensor, loss: Loss) -> Tensor:
        """Gradient at `images` of the sum of `loss(logits)`; the images count as iterates and are judged.

        The gradient may be that of a faster copy of the network, up to rounding. The copy is never believed: what it
        says has fallen is shown to the network itself.

        Args:
            images: (n, channels, height, width), one for each image still under attack.
            loss: logits (n, n_classes) -> one value an image, (n,).
        """
        self._check_budget(images)
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            logits = self._search(leaf)
            (gradient,) = torch.autograd.grad(loss(logits).sum(), leaf)
        self._judge(images, self._checked(logits.detach()))
        if not torch.isfinite(gradient).all():
            raise ModelError(
                f"{self._network.name}: the gradient of {int((~torch.isfinite(gradient)).flatten(1).any(1).sum())} "
                "images holds NaN or infinity; the attack cannot go on"
            )
        return gradient

    def logits(self, images: Tensor) -> Tensor:
        """Logits (m, n_classes) of any m images, with a graph where they ask for gradients; nothing is judged.

        For attacks with a loop of their own: what they find counts when it is shown through `conclude`.
        """
        return self._checked(self._network(images))

    def standing(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """A threat's own tensors, one row an image, without the images that need no more work.

        `clean` and `labels` shrink with them.
        """
        if self._iterate == "both":
            return tensors
        keep = self.survived_any[self._active]
        places = self._filled(keep) if self._shrinks else keep.nonzero().flatten()
        if len(places) == len(keep):
            return tensors
        self._active = self._active[places]
        return tuple(tensor[places] for tensor in tensors)

    def conclude(self, images: Tensor) -> None:
        """Judge the last iterate of a restart, by a pass of its own."""
        if not len(images):
            return
        self._check_budget(images)
        with torch.no_grad():
            prediction = self._checked(self._network(images)).argmax(1)
        # With several restarts, the last iterate that is kept is that of the first restart that succeeded.
        open_still = self.survived_last[self._active]
        where = self._active[open_still]
        self.last_prediction[where] = prediction[open_still]
        self.last_images[where] = images[open_still]
        fell = self._active[prediction != self.labels]
        self.survived_last[fell] = False
        self.survived_any[fell] = False

    def values(self, images: Tensor, loss: Loss) -> Tensor:
        """(n,): `loss(logits)` at `images`, without a gradient; they count as iterates and are judged."""
        self._check_budget(images)
        with torch.no_grad():
            logits = self._checked(self._search(images))
        self._judge(images, logits)
        return loss(logits)

    def _judge(self, images: Tensor, logits: Tensor) -> None:
        fell = (logits.argmax(1) != self.labels) & self.survived_any[self._active]
        if self._search is not self._network and bool(fell.any()):
            at = fell.nonzero().flatten()
            padded = torch.cat([at, at[:1].expand(_bucket(len(at), len(self._all_clean)) - len(at))])
            with torch.no_grad():
                predictions = self._checked(self._network(images[padded])).argmax(1)
            fell[at] = predictions[: len(at)] != self.labels[at]
        self.survived_any[self._active[fell]] = False

    def _check_budget(self, images: Tensor) -> None:
        if not len(images):
            return
        outside = float(torch.maximum(-images.amin(), images.amax() - 1))
        excess = max(outside, float(self._threat.excess(self.clean, images).max()))
        if not excess <= BUDGET_TOLERANCE:  # also true of NaN
            raise ThreatError(
                f"{self._threat.kind} proposed an image that exceeds its budget or [0, 1] by {excess:.3g} "
                f"({self._threat.strength_setting} {self._threat.strength:g}); its verdicts would not count"
            )

    def _checked(self, logits: Tensor) -> Tensor:
        finite = torch.isfinite(logits).all(dim=1)
        if not bool(finite.all()):
            raise ModelError(
                f"{self._network.name} gave NaN or infinite logits for {int((~finite).sum())} of {len(logits)} images; "
                "no verdict can be given"
            )
        return logits


def _bucket(n: int, most: int) -> int:
    """The smallest of most, most / 2, most / 4, ... (rounded up) that is at least n, for n from 1 to most."""
    size = most
    while (half := math.ceil(size / 2)) >= n and half < size:
        size = half
    return size


@dataclass(frozen=True)
class FastPath:
    """A faster copy of the network found the gradients; a sample was attacked with the network's own as well.

    Attributes:
        means: what was done to the copy.
        n_checked: verdicts that were reached both ways, from the same starts.
        n_differ: those that differ.

    Example:
        >>> round(FastPath("channels last", n_checked=100, n_differ=0).at_most, 3)
        0.03
    """

    means: str
    n_checked: int
    n_differ: int

    @property
    def at_most(self) -> float:
        """The largest share of differing verdicts that the sample allows, at 95% (one-sided, Clopper and Pearson)."""
        if self.n_differ == self.n_checked:
            return 1.0
        return float(stats.beta.ppf(0.95, self.n_differ + 1, self.n_checked - self.n_differ))


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a network said of each image, clean and under one or several threats.

    Attributes:
        table: one row for each threat, strength and image (see `manifoldscope.tables`).
        adversarial: the last iterates, one tensor (n, channels, height, width) a threat, if they were kept.
        fast: how gradients were found sooner, and what a sample says of it; None where they were the network's own.
    """

    table: pl.DataFrame
    adversarial: tuple[Tensor, ...] = ()
    fast: FastPath | None = None

    @property
    def clean_accuracy(self) -> float:
        """Share of images that are classified correctly when clean."""
        clean = self.table.group_by("image").agg((pl.col("clean_prediction") == pl.col("label")).all())
        return _share(clean["clean_prediction"])

    @property
    def accuracy(self) -> float:
        """Share of images whose last iterate is classified correctly: under every threat, if there are several."""
        if self.table["survived_last"].null_count():
            raise ThreatError("only the verdict 'any' was asked for: see accuracy_any, or evaluate with iterate='both'")
        return _share(self.table.group_by("image").agg(pl.col("survived_last").all())["survived_last"])

    @property
    def accuracy_any(self) -> float:
        """Share of images with no misclassified iterate: under every threat, if there are several.

        A threat without iterates has only its last image to show, and that counts.
        """
        survived = pl.coalesce("survived_any", "survived_last").all()
        return _share(self.table.group_by("image").agg(survived.alias("survived"))["survived"])


def _share(truths: pl.Series) -> float:
    return float(truths.sum()) / len(truths) if len(truths) else float("nan")


def evaluate(
    network: Network,
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
) -> Verdicts:
    """Attack every image with every threat and judge the outcome image by image.

    Args:
        network: found again as it was: mode, flags, gradients and buffers.
        images: labelled images; the network's own preprocessing brings them to pixels in [0, 1].
        threats: one threat or several.
        seed: the same seed gives the same random starts, for every network and (scaled) for every strength.
        batch_size: images at a time; changes the answer by rounding only.
        iterate: "both" judges the last iterate and any iterate, without stopping early, so that the last one is that
            of the full number of steps. "any" leaves the last out and drops images as they fall, which is cheaper. A
            threat without iterates has one verdict, `survived_last`, in either case.
        keep_images: keep the last iterates (only with "both").
        names: what the table calls a threat; its kind where left out.
        fast: search with a faster copy of the network (see `faster`), and attack a fiftieth of the images with its own
            gradients as well. Every verdict is the network's own in either case. A copy that was made before will do.
        reuse: an image that fell at a smaller strength of a threat has fallen at a larger one, and is not attacked
            there; for threats whose budgets are nested, with "any". Curves are then monotone by construction.

    Raises:
        DataError: an image cannot be read.
        ModelError: the network gives NaN, or has fewer outputs than there are labels.
        ThreatError: a threat broke its budget; nothing was asked for; images to keep under "any"; reuse without "any".
    """
    wanted = [threats] if isinstance(threats, Threat) else list(threats)
    if not wanted or not len(images):
        raise ThreatError(f"{len(wanted)} threats and {len(images)} images; expected at least one of each")
    if keep_images and iterate == "any":
        raise ThreatError("keep_images needs iterate='both': under 'any' an image leaves before its last iterate")
    if reuse and iterate != "any":
        raise ThreatError("reuse needs iterate='any': a last iterate at a larger strength is not that at a smaller one")
    search = _search(network, images, wanted, fast, batch_size)
    fallen: dict[tuple[str, str], Tensor] = {}
    found: dict[int, _Found] = {}
    for place in sorted(range(len(wanted)), key=lambda place: wanted[place].strength):
        threat = wanted[place]
        one = _evaluate_one(
            network,
            images,
            threat,
            seed=seed,
            batch_size=batch_size,
            iterate=iterate,
            keep=keep_images,
            search=search,
            fallen=fallen.get((threat.kind, threat.parameters)),
        )
        if reuse and threat.nested and threat.iterative:
            fallen[threat.kind, threat.parameters] = ~torch.tensor(one.table["survived_any"].to_list())
        name = (names or {}).get(threat, threat.kind)
        found[place] = replace(one, table=one.table.with_columns(threat=pl.lit(name)))
    ordered = [found[place] for place in range(len(wanted))]
    return Verdicts(
        conform("verdicts", pl.concat([one.table for one in ordered]).with_columns(model=pl.lit(network.name))),
        tuple(one.images for one in ordered) if keep_images else (),
        FastPath(str(search), sum(one.n_checked for one in ordered), sum(one.n_differ for one in ordered))
        if search.means
        else None,
    )


def _search(
    network: Network, images: ImageSet, threats: Sequence[Threat], fast: bool | FastNetwork, batch_size: int
) -> FastNetwork:
    """What gradients are asked of."""
    if isinstance(fast, FastNetwork):
        return fast
    if not fast or not any(threat.passes[1] for threat in threats):
        return FastNetwork(network)
    few = slice(0, min(len(images), batch_size, _SEEN_BY_A_COPY))
    return faster(network, network.pixels(images, few).to(network.device))


@dataclass(frozen=True, eq=False)
class _Found:
    """What one threat at one strength found; see `FastPath` for the numbers."""

    table: pl.DataFrame
    images: Tensor
    n_checked: int
    n_differ: int


def _evaluate_one(
    network: Network,
    images: ImageSet,
    threat: Threat,
    *,
    seed: int,
    batch_size: int,
    iterate: Iterate,
    keep: bool,
    search: FastNetwork,
    fallen: Tensor | None,
) -> _Found:
    generator = seeded(seed, "threat", threat.kind)
    columns: dict[str, list[Tensor]] = {}
    kept = []
    n_checked = n_differ = 0
    verdict = "survived_any" if iterate == "any" and threat.iterative else "survived_last"
    with undisturbed(network), undisturbed(search.network):
        for turn, where in enumerate(batches(len(images), batch_size)):
            clean = network.pixels(images, where).to(network.device)
            labels = images.labels[where].to(network.device)
            attacked = None if fallen is None else ~fallen[where].to(network.device)
            target = Target(network, clean, labels, threat, iterate, search=search.network, attacked=attacked)
            _require_outputs(network, target, labels)
            before = generator.get_state()
            threat.perturb(target, generator)
            for column in ("clean_prediction", "last_prediction", "survived_last", "survived_any"):
                columns.setdefault(column, []).append(getattr(target, column).cpu())
            if keep:
                kept.append(target.last_images.cpu())
            if search.means and threat.passes[1] and turn % 2 == 0:
                sample = torch.arange(len(labels), device=labels.device) % _CHECKED == 0
                if attacked is not None:
                    sample &= attacked
                again = Target(network, clean, labels, threat, iterate, attacked=sample)
                sample &= again.clean_prediction == labels
                after = generator.get_state()
                generator.set_state(before)
                threat.perturb(again, generator)
                generator.set_state(after)
                n_checked += int(sample.sum())
                n_differ += int((getattr(again, verdict) != getattr(target, verdict))[sample].sum())
    whole = {column: torch.cat(parts).tolist() for column, parts in columns.items()}
    if not threat.iterative:
        whole["survived_any"] = [None] * len(images)
    elif iterate == "any":
        whole["survived_last"] = whole["last_prediction"] = [None] * len(images)
    frame = pl.DataFrame(
        {"image": list(images.names), "label": images.labels.tolist(), **whole},
        schema_overrides={"last_prediction": pl.Int64, "survived_last": pl.Boolean, "survived_any": pl.Boolean},
    ).with_columns(parameters=pl.lit(threat.parameters), strength=pl.lit(threat.strength))
    return _Found(frame, torch.cat(kept) if kept else torch.empty(0), n_checked, n_differ)


def _require_outputs(network: Network, target: Target, labels: Tensor) -> None:
    n_classes = target.whole_clean_logits.shape[1]
    if int(labels.max()) >= n_classes:
        raise ModelError(
            f"{network.name} has {n_classes} outputs, but label {int(labels.max())} occurs; "
            "the network and the dataset do not fit"
        )


def robustness_of(verdicts: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Verdicts counted class by class: the table `robustness`.

    Args:
        verdicts: the table `verdicts`, with a column `split` beside it.
        classes: columns `label` and `class_name`.
    """
    correct = pl.col("clean_prediction") == pl.col("label")
    by = ["model", "threat", "parameters", "strength", "label", "split"]
    counted = []
    for iterate in ("last", "any"):
        survived = pl.col(f"survived_{iterate}")
        counted.append(
            verdicts.filter(survived.is_not_null())
            .group_by(by)
            .agg(
                n_images=pl.len().cast(pl.Int64),
                n_clean_correct=correct.sum().cast(pl.Int64),
                n_survived=survived.sum().cast(pl.Int64),
            )
            .with_columns(iterate=pl.lit(iterate))
        )
    table = pl.concat(counted).join(classes, on="label", how="left").rename({"label": "class_index"})
    return conform(
        "robustness",
        table.with_columns(
            clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
            accuracy=pl.col("n_survived") / pl.col("n_images"),
        ),
    )


def make(kind: str, settings: Mapping[str, Any]) -> Threat:
    """The threat `kind` with these settings; the errors name what is wrong."""
    entry = THREATS[kind]
    threat: Threat = entry.target(**entry.validate(settings, where=kind))
    return threat
