"""A diagnosis card of a class: how fragile it is, how hard when clean, where it stands on each measure, beside which
classes, and how sure all this is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.class_by_class import Accuracy, outcomes_under, telling_classes
from manifoldscope.evidence.confusion import confusions
from manifoldscope.evidence.interventions import Difference
from manifoldscope.evidence.measures import describes_sample, near_ceiling, of_classes
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.proportions import difference
from manifoldscope.evidence.significance import finite
from manifoldscope.evidence.simultaneous import Ranks, joint_ranks, simultaneous
from manifoldscope.tables import conform

MOST_NEIGHBOURS = 3
"""Classes that a card names: as which most images are misclassified, and those that lie nearest."""

_GROUP = ("layer", "measure", "parameters")


@dataclass(frozen=True)
class Hardness:
    """How hard a class is when clean, on one draw.

    Attributes:
        draw: "robustness" or "geometry".
        correct: clean images that are classified correctly.
        margin, margin_sd: mean and standard deviation of the logits' margin over its images.
        rank: of the margin among `n_classes`, 1 for the smallest: the hardest.
    """

    draw: str
    correct: Accuracy | None
    margin: float | None
    margin_sd: float | None
    rank: int | None
    n_classes: int


@dataclass(frozen=True)
class Standing:
    """Where a class stands on one measure of one layer.

    Attributes:
        value, stderr: as in the table `geometry`.
        z: standard deviations from the mean over the classes; None where these do not vary.
        z_stderr: the standard error of the value in the same unit; None where it is not known.
        percentile: the classes, out of 100 other ones, that have a smaller value; equal ones count one half. None for a
            single class.
        n_classes: with a value.
        near_ceiling, describes_sample: whether the value is near the most that that many points can show, or describes
            the sample and not the manifold.
    """

    layer: str
    measure: str
    parameters: str
    value: float
    stderr: float | None
    z: float | None
    z_stderr: float | None
    percentile: float | None
    n_classes: int
    n_points: int | None
    near_ceiling: bool
    describes_sample: bool


@dataclass(frozen=True)
class TakenFor:
    """Images of the class that are misclassified as another one: `n_into`, a `share` of its misclassified images."""

    class_index: int
    class_name: str
    n_into: int
    share: float


@dataclass(frozen=True)
class Near:
    """A class that lies near, by the distance of the two centroids in one layer."""

    layer: str
    parameters: str
    class_index: int
    class_name: str
    distance: float


@dataclass(frozen=True)
class Card:
    """What is known of one class of one network.

    Attributes:
        attack, strength, iterate: under which the classes of the network differ most.
        at_chance: the network is at chance level, so that its accuracies say nothing.
        robust: robust accuracy.
        low, high: its interval that holds together with those of all classes, with 95% confidence.
        rank: of robust accuracy, 1 for the lowest; classes that are equal share the lowest rank.
        first_rank, last_rank: the ranks that it may have, by the intervals that hold together.
        difference: robust accuracy less that over the images of all classes; None for a single class.
        clean: clean accuracy of the same images.
        hardness: by draw.
        standings: by layer and measure, of clean images.
        n_misclassified: images that are correct when clean and misclassified under the attack; None where not known.
        taken_for: as which classes, at most three.
        nearest: the classes whose centroids are nearest, at most three per layer.
    """

    model: str
    class_index: int
    class_name: str
    attack: str
    strength: float
    iterate: str
    at_chance: bool
    robust: Accuracy
    low: float
    high: float
    rank: int
    first_rank: int
    last_rank: int
    n_classes: int
    difference: Difference | None
    clean: Accuracy | None
    hardness: tuple[Hardness, ...]
    standings: tuple[Standing, ...]
    n_misclassified: int | None
    taken_for: tuple[TakenFor, ...]
    nearest: tuple[Near, ...]

    @property
    def in_doubt(self) -> tuple[Standing, ...]:
        """Standings whose values describe the sample or are near their ceiling."""
        return tuple(each for each in self.standings if each.describes_sample or each.near_ceiling)


def cards(tables: Mapping[str, pl.DataFrame], *, model: str, class_name: str | None = None) -> Iterator[Card]:
    """The diagnosis cards of the classes of one network, those of the lowest robust accuracy first.

    Each is made when it is asked for, so that the first ones of many classes are quickly had.

    Args:
        tables: by name, as in `manifoldscope.tables`; one that is not given counts as empty. Only `robustness` is
            needed; the others are models, outcomes, margins, geometry and pairs.
        model: the network.
        class_name: the class; every one if omitted.

    Raises:
        StudyError: the network was not attacked, or has no such class.

    Example:
        >>> attacked = {"model": "net", "attack": "pgd", "strength": 0.1, "iterate": "last", "n_images": 50}
        >>> rows = [
        ...     attacked | {"class_name": name, "class_index": place, "n_robust": n, "robust_accuracy": n / 50}
        ...     for place, (name, n) in enumerate({"cat": 5, "dog": 30, "ship": 45}.items())
        ... ]
        >>> card = next(cards({"robustness": pl.DataFrame(rows)}, model="net"))
        >>> card.class_name, card.robust.value, card.rank, card.last_rank, card.difference.clear
        ('cat', 0.1, 1, 1, True)
    """
    names = ("models", "robustness", "outcomes", "margins", "geometry", "pairs")
    known = {name: conform(name, tables.get(name, [])) for name in names}
    every = telling_classes(known["robustness"])
    rows = every.filter(model=model)
    if rows.is_empty():
        raise StudyError(unknown("network with robust accuracies", model, set(every["model"])))
    if class_name is not None and class_name not in set(rows["class_name"]):
        raise StudyError(unknown(f"class of {model}", class_name, set(rows["class_name"])))
    asked = rows.with_row_index("place").sort("robust_accuracy", "class_index")
    if class_name is not None:
        asked = asked.filter(class_name=class_name)
    network = _Network.of(rows, known)
    return (network.card(place) for place in asked["place"])


@dataclass(frozen=True)
class _Network:
    """What the cards of one network share: rows of tables, each of this network alone."""

    rows: pl.DataFrame
    robust: FloatArray
    images: FloatArray
    together: tuple[FloatArray, FloatArray]
    ranks: tuple[Ranks, Ranks]
    at_chance: bool
    confused: pl.DataFrame | None
    margins: pl.DataFrame
    standings: pl.DataFrame
    distances: pl.DataFrame
    names: Mapping[int, str]

    @classmethod
    def of(cls, rows: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> _Network:
        model, attack, strength = rows.select("model", "attack", "strength").row(0)
        robust, images = (rows[name].cast(pl.Float64).to_numpy() for name in ("n_robust", "n_images"))
        together = simultaneous(robust, images)
        here = outcomes_under(tables["outcomes"], model=model, attack=attack, strength=strength)
        names = pl.concat([tables[name].select("class_index", "class_name") for name in ("geometry", "robustness")])
        return cls(
            rows=rows,
            robust=robust,
            images=images,
            together=together,
            ranks=joint_ranks(*together),
            at_chance=model in at_chance(tables["models"]),
            confused=confusions(here) if here["last_prediction"].is_not_null().any() else None,
            margins=tables["margins"]
            .filter(model=model)
            .with_columns(
                rank=pl.col("margin").fill_nan(None).rank("min").over("draw"), n_classes=pl.len().over("draw")
            ),
            standings=_standings(tables["geometry"].filter(model=model)),
            distances=tables["pairs"].filter(pl.col("value").is_finite(), model=model, measure="centroid_distance"),
            names=dict(names.drop_nulls().iter_rows()),
        )

    def card(self, place: int) -> Card:
        row = self.rows.row(place, named=True)
        label = row["class_index"]
        robust = Accuracy.of(row["n_robust"], row["n_images"])
        assert robust is not None
        confused = None if self.confused is None else self.confused.filter(class_index=label)
        return Card(
            **{name: row[name] for name in ("model", "class_index", "class_name", "attack", "strength", "iterate")},
            at_chance=self.at_chance,
            robust=robust,
            low=float(self.together[0][place]),
            high=float(self.together[1][place]),
            rank=int((self.robust / self.images < robust.value).sum()) + 1,
            first_rank=int(self.ranks[0][place]),
            last_rank=int(self.ranks[1][place]),
            n_classes=self.rows.height,
            difference=self._difference(place),
            clean=Accuracy.of(row["n_clean_correct"], row["n_images"]),
            hardness=tuple(_hardness(each) for each in self.margins.filter(class_index=label).iter_rows(named=True)),
            standings=tuple(
                Standing(**each)
                for each in self.standings.filter(class_index=label).drop("class_index").iter_rows(named=True)
            ),
            n_misclassified=None if confused is None else int(confused["n_into"].sum()),
            taken_for=() if confused is None else tuple(self._taken_for(confused)),
            nearest=tuple(self._nearest(label)),
        )

    def _difference(self, place: int) -> Difference | None:
        """From the accuracy over all images, in which the class itself has the share n / N.

        It is (1 - n / N) times the difference from the other classes, which are independent of it. The interval takes
        these as one sample; as they differ, it is rather too wide.
        """
        if self.rows.height < 2:
            return None
        x, n = self.robust[place : place + 1], self.images[place : place + 1]
        others, of_others = self.robust.sum() - x, self.images.sum() - n
        low, high = difference(x, n, others, of_others)
        weight = of_others / (n + of_others)
        value = weight * (x / n - others / of_others)
        return Difference(float(value[0]), float((weight * low)[0]), float((weight * high)[0]))

    def _taken_for(self, confused: pl.DataFrame) -> Iterator[TakenFor]:
        most = confused.sort("n_into", "other_class_index", descending=[True, False]).head(MOST_NEIGHBOURS)
        for row in most.iter_rows(named=True):
            other = row["other_class_index"]
            yield TakenFor(other, self._named(other), row["n_into"], row["share"])

    def _nearest(self, label: int) -> Iterator[Near]:
        mine = self.distances.filter((pl.col("class_index") == label) | (pl.col("other_class_index") == label))
        other = pl.when(pl.col("class_index") == label).then("other_class_index").otherwise("class_index")
        for _, group in mine.with_columns(other=other).group_by("layer", "parameters", maintain_order=True):
            for row in group.sort("value", "other").head(MOST_NEIGHBOURS).iter_rows(named=True):
                yield Near(row["layer"], row["parameters"] or "", row["other"], self._named(row["other"]), row["value"])

    def _named(self, label: int) -> str:
        """The name of a class; images without finite logits are of none."""
        return self.names.get(label, f"class {label}") if label >= 0 else "no class"


def _hardness(row: Mapping[str, Any]) -> Hardness:
    return Hardness(
        draw=row["draw"],
        correct=Accuracy.of(row["n_correct"], row["n_images"]),
        margin=finite(row["margin"]),
        margin_sd=finite(row["margin_sd"]),
        rank=row["rank"],
        n_classes=row["n_classes"],
    )


def _standings(geometry: pl.DataFrame) -> pl.DataFrame:
    """A row per class, layer and measure of one network, with where its value stands among those of the classes."""
    values = of_classes(geometry).filter(pl.col("value").is_finite())
    n = pl.len().over(_GROUP)
    # Equal values have a standard deviation of rounding errors, and not of 0.
    varies = pl.col("value").n_unique().over(_GROUP) > 1
    deviation = pl.when(varies).then(pl.col("value").std().over(_GROUP))
    return values.with_columns(pl.col("parameters").fill_null("")).select(
        "class_index",
        *_GROUP,
        "value",
        pl.col("stderr").fill_nan(None),
        z=(pl.col("value") - pl.col("value").mean().over(_GROUP)) / deviation,
        z_stderr=pl.col("stderr").fill_nan(None) / deviation,
        percentile=pl.when(n > 1).then(100 * (pl.col("value").rank("average").over(_GROUP) - 1) / (n - 1)),
        n_classes=n,
        n_points="n_points",
        near_ceiling=near_ceiling(),
        describes_sample=describes_sample(),
    )
