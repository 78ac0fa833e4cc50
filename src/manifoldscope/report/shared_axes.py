"""Points of several classes in axes that they share, and which share of their variance these axes show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture
from manifoldscope.report.rows import Reals

SHOWN = 3
"""Axes of a picture in space."""


@dataclass(frozen=True, eq=False)
class SharedAxes:
    """The principal axes of some classes together.

    Attributes:
        centre: (d,) the mean of their points; axes are drawn through it.
        axes: (3, d) orthonormal, by falling variance; of each, the largest coordinate is positive.
        shares: (3,) of the total variance of these points in all features of the layer, along each axis.
        spanned: that share within all d axes that were kept: no rotation of them shows more.
    """

    centre: Reals
    axes: Reals
    shares: Reals
    spanned: float


@dataclass(frozen=True, eq=False)
class LayerPoints:
    """The points of one network in one layer, as a picture "points" keeps them.

    Attributes:
        clean: (n, d) coordinates; `adversarial` the same of attacked images, None where none were attacked.
        place: (n,) which of `classes` an image belongs to.
        prediction, adversarial_prediction: (n,) indices of outputs; -1 where the network gave none.
        margin: (n,) the logit of the label minus the largest other, of the clean image.
        classes: class indices; `names` of the same.
        variance: (n_classes,) mean squared distance of a class's points from their mean, in all features.
        distances: (n_classes, n_classes) squared, between means of classes, in all features.
        facts: the names of the picture.
    """

    clean: Reals
    adversarial: Reals | None
    place: NDArray[np.int64]
    prediction: NDArray[np.int64]
    adversarial_prediction: NDArray[np.int64] | None
    margin: Reals
    classes: tuple[int, ...]
    names: tuple[str, ...]
    variance: Reals
    distances: Reals
    facts: dict[str, Any]

    @classmethod
    def of(cls, picture: Picture) -> LayerPoints:
        """What a picture "points" holds.

        Raises:
            ManifoldscopeError: its arrays do not fit together.
        """
        arrays, facts = picture.arrays, dict(picture.names)
        label = arrays["label"].astype(np.int64)
        classes = tuple(sorted({int(index) for index in label}))
        n, count = len(label), len(classes)
        shapes = {name: array.shape for name, array in arrays.items()}
        wanted: dict[str, tuple[int, ...]] = {"prediction": (n,), "margin": (n,), "variance": (count,)}
        wanted |= {"distances": (count, count), "adversarial_prediction": (n,)}
        if "adversarial" in shapes:
            wanted["adversarial"] = shapes["clean"]
        wrong = [name for name, shape in wanted.items() if name in shapes and shapes[name] != shape]
        if wrong or len(arrays["clean"]) != n:
            raise ManifoldscopeError(
                f"points of {facts.get('model')!r} in {facts.get('layer')!r} have arrays of shapes {shapes}; expected "
                f"a row for each of {n} images of {count} classes"
            )
        predicted = arrays.get("adversarial_prediction")
        return cls(
            clean=arrays["clean"],
            adversarial=arrays.get("adversarial"),
            place=np.searchsorted(np.array(classes), label),
            prediction=arrays["prediction"].astype(np.int64),
            adversarial_prediction=None if predicted is None else predicted.astype(np.int64),
            margin=arrays["margin"],
            classes=classes,
            names=tuple(str(facts.get("class_names", {}).get(index, index)) for index in classes),
            variance=arrays["variance"],
            distances=arrays["distances"],
            facts=facts,
        )

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(n_classes,) how many points a class has."""
        return np.bincount(self.place, minlength=len(self.classes)).astype(np.int64)

    @cached_property
    def means(self) -> Reals:
        """(n_classes, d) of clean points."""
        return np.stack([self.clean[self.place == place].mean(0) for place in range(len(self.classes))])

    @cached_property
    def covariances(self) -> Reals:
        """(n_classes, d, d) of clean points, each sum divided by the number of points."""
        parts = [self.clean[self.place == place] - mean for place, mean in enumerate(self.means)]
        return np.stack([part.T @ part / len(part) for part in parts])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) whether the clean image is classified correctly."""
        return np.asarray(self.prediction == np.array(self.classes)[self.place])

    @property
    def robust(self) -> NDArray[np.bool_]:
        """(n,) whether it is, and the attacked image is as well."""
        if self.adversarial_prediction is None:
            return self.correct
        return np.asarray(self.correct & (self.adversarial_prediction == np.array(self.classes)[self.place]))

    def telling(self, most: int = 3) -> list[int]:
        """Places of the class with the fewest robust images, and of those nearest to it; of equals, the first.

        Classes that are always misclassified when clean come last: an attack shows nothing of them.
        """
        known = np.bincount(self.place, weights=self.correct, minlength=len(self.classes)) > 0
        robust = np.bincount(self.place, weights=self.robust, minlength=len(self.classes)) / self.counts
        first = int(np.argmin(np.where(known, robust, 2.0)))
        return [first, *self.nearest(first)[: most - 1]]

    def nearest(self, place: int) -> list[int]:
        """Places of the other classes, by the distance of their mean."""
        order = np.argsort(self.distances[place], kind="stable")
        return [int(other) for other in order if other != place]

    def shared_axes(self, places: Sequence[int]) -> SharedAxes:
        """The principal axes of all clean points of some classes together.

        They are those of the coordinates that were kept, and exact where these hold all features. Shares are of the
        variance in all features: that within each class, and that between their means.
        """
        chosen = list(places)
        weight = self.counts[chosen] / self.counts[chosen].sum()
        means = self.means[chosen]
        centre = weight @ means
        apart = means - centre
        covariance = np.einsum("c,cij->ij", weight, self.covariances[chosen]) + (weight[:, None] * apart).T @ apart
        between = float(weight @ self.distances[np.ix_(chosen, chosen)] @ weight) / 2
        total = float(weight @ self.variance[chosen]) + between
        values, vectors = np.linalg.eigh(covariance)
        axes = np.zeros((SHOWN, len(centre)))
        shares = np.zeros(SHOWN)
        for place in range(min(SHOWN, len(centre))):
            axis = vectors[:, -1 - place]
            axes[place] = axis * np.sign(axis[np.argmax(np.abs(axis))])
            shares[place] = max(0.0, float(values[-1 - place])) / total if total > 0 else 0.0
        spanned = min(1.0, float(np.trace(covariance)) / total) if total > 0 else 0.0
        return SharedAxes(centre, axes, np.minimum(1.0, shares), spanned)
