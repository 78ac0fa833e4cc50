"""Outcomes: what a network said of each image, clean and under attacks; and the same counted class by class."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from scipy import stats
from torch import Tensor

from manifoldscope.errors import AttackError
from manifoldscope.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema, conform
from manifoldscope.vision.shown import counted, html_table

OUTCOMES = Schema(
    name="outcomes",
    row="an image under an attack or corruption at a strength (prediction -1: the network gave NaN or infinity)",
    columns={
        "model": TEXT,
        "attack": TEXT,
        "parameters": TEXT,
        "norm": TEXT,
        "n_steps": INTEGER,
        "targeted": BOOLEAN,
        "strength": REAL,
        "image": TEXT,
        "label": INTEGER,
        "clean_prediction": INTEGER,
        "last_prediction": INTEGER,
        "robust_last": BOOLEAN,
        "robust_any": BOOLEAN,
        "minimal_epsilon": REAL,
    },
    identity=("model", "attack", "parameters", "strength", "image"),
)

ROBUSTNESS = Schema(
    name="robustness",
    row="a class under an attack or corruption at a strength, for one choice of iterate",
    columns={
        "model": TEXT,
        "attack": TEXT,
        "parameters": TEXT,
        "norm": TEXT,
        "n_steps": INTEGER,
        "strength": REAL,
        "iterate": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "n_images": INTEGER,
        "n_clean_correct": INTEGER,
        "n_robust": INTEGER,
        "clean_accuracy": REAL,
        "robust_accuracy": REAL,
        "split": TEXT,
    },
    identity=("model", "attack", "parameters", "strength", "iterate", "class_index"),
)


@dataclass(frozen=True)
class FastPath:
    """A faster copy of the network found the gradients; a sample was attacked with the network's own as well.

    Attributes:
        means: what was done to the copy.
        n_checked: images that were attacked both ways, from the same starts.
        n_differ: those that the network's own gradients misclassify and the copy's do not.

    Example:
        >>> round(FastPath("channels last", n_checked=100, n_differ=0).at_most, 3)
        0.03
    """

    means: str
    n_checked: int
    n_differ: int

    @property
    def at_most(self) -> float:
        """The largest share of such outcomes that the sample allows, at 95% (one-sided, Clopper and Pearson)."""
        if self.n_differ == self.n_checked:
            return 1.0
        return float(stats.beta.ppf(0.95, self.n_differ + 1, self.n_checked - self.n_differ))


@dataclass(frozen=True)
class Failures:
    """What went wrong and did not stop an evaluation.

    Attributes:
        n_without_class: images, clean or under an attack, for which the network gave NaN or infinite logits.
        n_without_gradient: images for which it gave them as a gradient, which counted as zero.
        batch_size: how many images fitted into memory at a time; None where it was as many as asked for.
    """

    n_without_class: int = 0
    n_without_gradient: int = 0
    batch_size: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Outcomes:
    """What a network said of each image, clean and under one or several attacks.

    Attributes:
        table: one row for each attack, strength and image (see `manifoldscope.tables`). Rows are sorted by the names
            of the images as text, "10" before "2": the column image says which is which.
        adversarial: the images that each ended with, one tensor (n, channels, height, width) per attack, if they were
            asked for: see `evaluate`.
        fast: how gradients were found faster, and what a sample says of it; None where they were the network's own.
        failures: what went wrong on the way.
        misclassified_after: for each attack (n,), in the order of the images that were given, how many steps its first
            run had taken when an image that counts was first misclassified; -1 where none was.
        predictions: for each attack (n,), likewise, the class of the image that each ended with; -1 where the network
            gives none.
    """

    table: pl.DataFrame
    adversarial: tuple[Tensor, ...] = ()
    fast: FastPath | None = None
    failures: Failures = Failures()
    misclassified_after: tuple[Tensor, ...] = ()
    predictions: tuple[Tensor, ...] = ()

    @property
    def clean_accuracy(self) -> float:
        """Share of images that are classified correctly when clean."""
        clean = self.table.group_by("image").agg((pl.col("clean_prediction") == pl.col("label")).all())
        return _share(clean["clean_prediction"])

    @property
    def robust_accuracy(self) -> float:
        """Share of images whose last iterate is classified correctly: under every attack, if there are several."""
        if self.table["robust_last"].null_count():
            raise AttackError(
                "only the outcome 'any' was asked for: see robust_accuracy_any, or evaluate with iterate='both'"
            )
        return _share(self.table.group_by("image").agg(pl.col("robust_last").all())["robust_last"])

    @property
    def robust_accuracy_any(self) -> float:
        """Share of images with no misclassified iterate: under every attack, if there are several.

        An attack without iterates has only its last image to show, and that counts.
        """
        robust = pl.coalesce("robust_any", "robust_last").all()
        return _share(self.table.group_by("image").agg(robust.alias("robust"))["robust"])

    def __repr__(self) -> str:
        images = counted(self.table["image"].n_unique(), "image")
        attacks = counted(self._by_attack().height, "attack")
        return (
            f"Outcomes({images}, {attacks}, {self.clean_accuracy:.1%} correct, {self.robust_accuracy_any:.1%} robust)"
        )

    def _repr_html_(self) -> str:
        """A row for each attack and strength, for notebooks."""
        headings = ("attack", "strength", "robust, last iterate", "robust, any iterate")
        rows = [
            (row["attack"], f"{row['strength']:.4g}", *(_percent(row[name]) for name in ("last", "any")))
            for row in self._by_attack().iter_rows(named=True)
        ]
        images = counted(self.table["image"].n_unique(), "image")
        return html_table(f"{images}, {self.clean_accuracy:.1%} classified correctly when clean", headings, rows)

    def _by_attack(self) -> pl.DataFrame:
        """The shares of images that are robust, for each attack and strength; null where that was not judged."""
        by = ("attack", "parameters", "strength")
        return self.table.group_by(by, maintain_order=True).agg(
            last=pl.col("robust_last").mean(), any=pl.col("robust_any").mean()
        )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _share(truths: pl.Series) -> float:
    return float(truths.sum()) / len(truths) if len(truths) else float("nan")


def robustness_of(outcomes: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Outcomes counted class by class: the table `robustness`.

    Args:
        outcomes: the table `outcomes`, with a column `split` beside it.
        classes: columns `label` and `class_name`.
    """
    correct = pl.col("clean_prediction") == pl.col("label")
    by = ["model", "attack", "parameters", "norm", "n_steps", "strength", "label", "split"]
    counted = []
    for iterate in ("last", "any"):
        robust = pl.col(f"robust_{iterate}")
        counted.append(
            outcomes.filter(robust.is_not_null())
            .group_by(by)
            .agg(
                n_images=pl.len().cast(pl.Int64),
                n_clean_correct=correct.sum().cast(pl.Int64),
                n_robust=robust.sum().cast(pl.Int64),
            )
            .with_columns(iterate=pl.lit(iterate))
        )
    table = pl.concat(counted).join(classes, on="label", how="left").rename({"label": "class_index"})
    return conform(
        ROBUSTNESS,
        table.with_columns(
            clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
            robust_accuracy=pl.col("n_robust") / pl.col("n_images"),
        ),
    )
