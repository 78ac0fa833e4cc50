"""What a pilot study says of classes, for the power of a larger one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.errors import StudyError
from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.class_by_class import telling_classes
from manifoldscope.evidence.measures import main_measure, of_classes, of_measure
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.power import Assumed, carried
from manifoldscope.evidence.two_draws import FEWEST_CLASSES, Difficulty, difficulty_of, log_odds, normal_scores

LEAST = 0.02
"""Estimates of a share or a variance below this are raised to it: a pilot cannot tell them from nothing."""


def pilot(tables: Mapping[str, pl.DataFrame]) -> Assumed:
    """What to assume of classes, from the tables of a study of other classes, fewer images or fewer networks.

    Each network above chance level and each of its layers gives an estimate, for the PCA dimension where it was
    measured; medians over them are returned. Slopes on difficulty, and its variance, come from both draws of images, so
    that the noise of margins does not enter. Estimates from few classes are rough: the standard error of a reliability
    of 0.7 is about 0.1 with 20 classes.

    Args:
        tables: by name: geometry, robustness, models, margins and draw_pairs.

    Raises:
        StudyError: the tables lack the margins of 20 classes on both draws, or the measure on both; or one of them, or
            robust accuracy, is the same for all classes.
    """
    found = list(_estimates(tables))
    if not found:
        raise StudyError(
            f"the pilot says too little: needed are at least {FEWEST_CLASSES} classes of a network above chance level, "
            "with margins and a measure on both draws of images (tables margins and draw_pairs), that are attacked and "
            "differ in all of these"
        )
    medians: dict[str, Any] = {
        field.name: float(np.median([getattr(each, field.name) for each in found])) for field in fields(Assumed)
    }
    return Assumed(**medians)


def at_least(assumed: Assumed) -> list[str]:
    """The estimates that a pilot could not tell from nothing: `robust_variance = 0.02`."""
    names = ("intraclass", "clean_slope", "robust_variance")
    return [f"{name} = {LEAST:g}" for name in names if getattr(assumed, name) == LEAST]


def _estimates(tables: Mapping[str, pl.DataFrame]) -> Iterator[Assumed]:
    """Of each network and layer."""
    geometry, pairs = of_classes(tables["geometry"]), tables["draw_pairs"]
    geometry = geometry.join(pairs, on=["measure", "parameters"], how="semi", nulls_equal=True)
    if geometry.is_empty():
        return
    measured = main_measure(geometry)
    pairs = of_measure(pairs, measured.row(0, named=True))
    left_out = at_chance(tables["models"])
    for (model,), attacked in telling_classes(tables["robustness"]).group_by("model", maintain_order=True):
        if model in left_out:
            continue
        for (layer,), mine in measured.filter(pl.col("model") == model).group_by("layer", maintain_order=True):
            here = pairs.filter(pl.col("model") == model, pl.col("layer") == layer)
            joined = (
                mine.select("class_index", "value", "n_points")
                .join(here.select("class_index", "geometry", "robustness", points="n_points"), on="class_index")
                .join(attacked.select("class_index", "n_robust", "n_clean_correct"), on="class_index")
                .filter(
                    pl.col("value").is_finite(),
                    pl.col("n_clean_correct") > 0,
                    pl.col("n_robust") <= pl.col("n_clean_correct"),
                )
                .sort("class_index")
            )
            draws = difficulty_of(tables["margins"], str(model), joined["class_index"].to_list())
            if draws is not None and draws[0] is not None and draws[1] is not None:
                estimate = _estimate(joined, draws[0], draws[1])
                if estimate is not None:
                    yield estimate


def _estimate(joined: pl.DataFrame, first: Difficulty, second: Difficulty) -> Assumed | None:
    """Of one network and layer; None where there are too few classes, a variable is the same for all, or margins do not
    agree between the draws."""
    columns = ("value", "geometry", "robustness", "n_robust", "n_clean_correct", "n_points", "points")
    every = np.stack([joined[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns])
    known = first.known & second.known & np.isfinite(every[[0, 5, 6]]).all(axis=0)
    a, c = first.subset(known), second.subset(known)
    value, one, other, robust, correct, n_points, points = every[:, known]
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < FEWEST_CLASSES:
        return None
    own, again = a.margin - a.margin.mean(), c.margin - c.margin.mean()
    variance = float(own @ again) / (len(own) - 1)
    if not variance > 0 or any(np.ptp(each) == 0 for each in (value, one[both], other[both], robust / correct)):
        return None
    own, again = own / np.sqrt(variance), again / np.sqrt(variance)
    within = float(np.mean([a.margin_sd**2, c.margin_sd**2]))
    intraclass = float(np.clip(variance / (variance + within), LEAST, 1 - LEAST))
    agreed = float(np.clip(np.corrcoef(normal_scores(one[both]), normal_scores(other[both]))[0, 1], LEAST, 1))
    x, y = normal_scores(value), log_odds(robust, correct)
    follows = _slope(x, again, own) / np.sqrt(carried(agreed, n_points.mean() / points.mean()) * x.var())
    linear, curve = _curve(y, again, own)
    odds = [_slope(log_odds(d.n_correct, d.n_images), *z) for d, z in ((a, (again, own)), (c, (own, again)))]
    # what noise there is in y once difficulty is taken out: see `power`
    left = y - y.mean() - linear * again - curve * (again**2 - (again**2).mean())
    q = (robust + 0.5) / (correct + 1)
    noise = (1 / ((correct + 1) * q * (1 - q) + 0.25)).mean()
    noise += (linear**2 + 4 * curve**2) * (1 - intraclass) / intraclass / c.n_images.mean()
    return Assumed(
        follows=float(np.clip(follows, -0.95, 0.95)),
        reliability=agreed,
        reliability_images=float(points.mean()),
        intraclass=intraclass,
        clean=float(np.clip(((a.n_correct + c.n_correct) / (a.n_images + c.n_images)).mean(), LEAST, 1 - LEAST / 20)),
        clean_slope=max(LEAST, float(np.mean(odds))),
        robust=float(y.mean()),
        robust_slope=linear,
        robust_curve=curve,
        robust_variance=max(LEAST, float(left @ left) / (len(y) - 3) - float(noise)),
    )


def _slope(values: FloatArray, z: FloatArray, other: FloatArray) -> float:
    """Of values on z, of variance 1 without noise, instrumented by the other draw."""
    return float((values - values.mean()) @ z / (z @ other))


def _curve(values: FloatArray, z: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Of values on z and z^2, measured on their own draw, instrumented by the other."""
    own, instruments = (np.stack([each, each**2 - (each**2).mean()]) for each in (z, other))
    found = np.linalg.pinv(instruments @ own.T) @ instruments @ (values - values.mean())
    return float(found[0]), float(found[1])
