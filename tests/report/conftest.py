"""A study that never ran: three networks with plausible tables and pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_points import class_points

from manifoldscope.evidence.within_between import within_between_table
from manifoldscope.pictures import Picture
from manifoldscope.report import Chart, Figure, draw, render
from manifoldscope.seeds import numpy_generator
from manifoldscope.tables import WHOLE, conform
from manifoldscope.vision.datasets import load

MODELS = ("random", "standard", "adversarial")
LAYERS = {"flatten": 256, "penultimate": 64}
STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.3)
N_POINTS, N_IMAGES, CEILING = 80, 40, 61.0
_DIMENSIONS = {
    "random": {"flatten": 33, "penultimate": 21},
    "standard": {"flatten": 29, "penultimate": 14},
    "adversarial": {"flatten": 36, "penultimate": 10},
}


@dataclass(frozen=True)
class Conclusion:
    """Stands in for a finding of the evidence room."""

    kind: str
    title: str
    text: str
    caveats: tuple[str, ...]
    numbers: tuple[dict[str, Any], ...]
    weight: float


def _survival(model: str, strength: float) -> float:
    if model == "random":
        return 0.1
    return float(1 / (1 + np.exp((strength - {"standard": 0.09, "adversarial": 0.24}[model]) / 0.035))) * 0.98


def study_tables(n_classes: int = 10, names: tuple[str, ...] | None = None) -> dict[str, pl.DataFrame]:
    """All tables of the study, for any number of classes."""
    random = numpy_generator(0, "report tables")
    names = names or tuple(str(label) for label in range(n_classes))
    effect = random.normal(size=n_classes)
    geometry, robustness, associations = [], [], []
    for model in MODELS:
        for layer, n_features in LAYERS.items():
            base = _DIMENSIONS[model][layer]
            pca = np.clip(np.round(base + 2.2 * effect + random.normal(size=n_classes)), 2, CEILING)
            for measure, parameters, values, ceiling in (
                ("pca_dimension", "fraction=0.95", pca, CEILING),
                (
                    "participation_ratio",
                    "",
                    pca * 0.41 + random.normal(size=n_classes),
                    79.0 if layer == "flatten" else 64.0,
                ),
            ):
                geometry += [
                    {
                        "model": model, "layer": layer, "class_index": label, "class_name": names[label],
                        "measure": measure, "parameters": parameters, "attack": "", "value": float(values[label]),
                        "n_points": N_POINTS, "n_features": n_features, "ceiling": ceiling, "split": "test",
                    }
                    for label in range(n_classes)
                ]  # fmt: skip
                for strength in STRENGTHS:
                    constant = model == "random"
                    r = float(np.clip(-0.3 + 0.3 * random.normal(), -0.95, 0.95))
                    row = {
                        "model": model, "layer": layer, "measure": measure, "parameters": parameters,
                        "attack": "pgd", "strength": strength, "iterate": "last", "outcome": "robust_accuracy",
                        "n": n_classes,
                    }  # fmt: skip
                    interval = {
                        "coefficient": r,
                        "low": max(-1.0, r - 0.5),
                        "high": min(1.0, r + 0.5),
                        "p_value": 0.2,
                        "p_adjusted": 0.6,
                    }
                    if constant:
                        interval = dict.fromkeys(interval, float("nan"))
                    associations += [
                        {**row, "method": "pearson", "controls": "", **interval},
                        {**row, "method": "spearman", "controls": "", **interval},
                        *(
                            {**row, "outcome": "log_odds", "method": "two_draws", "controls": control, **interval}
                            for control in ("margin", "clean_accuracy")
                        ),
                    ]
        for strength in STRENGTHS:
            p = np.clip(_survival(model, strength) - 0.07 * effect * (model != "random"), 0.0, 1.0)
            last = random.binomial(N_IMAGES, p)
            clean = np.maximum(last, int(0.95 * N_IMAGES) if model != "random" else 4)
            for iterate, robust in (("last", last), ("any", np.maximum(last - (strength > 0), 0))):
                robustness += [
                    {
                        "model": model, "attack": "pgd", "parameters": f"loss=ce steps=20 step_size={strength / 8:g}",
                        "strength": strength, "iterate": iterate, "class_index": label, "class_name": names[label],
                        "n_images": N_IMAGES, "n_clean_correct": int(clean[label]), "n_robust": int(robust[label]),
                        "clean_accuracy": clean[label] / N_IMAGES, "robust_accuracy": robust[label] / N_IMAGES,
                        "split": "test",
                    }
                    for label in range(n_classes)
                ]  # fmt: skip
    outcomes = [
        {
            "model": model, "attack": "pgd", "parameters": "", "strength": 0.1, "image": f"digits/test/{index}",
            "label": index % n_classes, "clean_prediction": index % n_classes, "last_prediction": 0,
            "robust_last": index % 3 == 0, "robust_any": index % 4 == 0,
        }
        for model in MODELS
        for index in range(120)
    ]  # fmt: skip
    models = [
        {
            "model": model, "source": "small:cnn", "n_parameters": 21_034, "dataset": "digits", "n_classes": n_classes,
            "clean_accuracy": accuracy, "provenance": f"{model}, seed 0",
        }
        for model, accuracy in zip(MODELS, (0.101, 0.985, 0.963), strict=True)
    ]  # fmt: skip
    checks = [
        {"model": model, "check": check, "passed": passed, "value": value, "expected": expected, "note": note}
        for model in MODELS
        for check, passed, value, expected, note in (
            ("epsilon_zero", True, 0.0, "0 outcomes that differ", "accuracy at epsilon 0 equals clean accuracy"),
            ("feasibility", True, 0.3, "at most epsilon", "the farthest pixel over all images"),
            (
                "vanishing_gradient",
                model != "standard",
                0.21 if model == "standard" else 0.0,
                "at most 0.05 of images without a gradient",
                "84 of 400 images have an input gradient of exactly zero: the attack cannot see where to go",
            ),
            ("logits", None, None, "outputs that do not sum to 1", "not judged"),
        )
    ]
    return {
        "models": conform("models", models),
        "geometry": conform("geometry", geometry),
        "robustness": conform("robustness", robustness),
        "outcomes": conform("outcomes", outcomes),
        "associations": conform("associations", associations),
        "checks": conform("checks", checks),
        "skipped_images": conform(
            "skipped_images",
            [{"image": "digits/test/0417.png", "class_name": names[0], "reason": "truncated: 211 of 780 bytes"}],
        ),
    }


def sampled_tables(n_classes: int = 10, names: tuple[str, ...] | None = None) -> dict[str, pl.DataFrame]:
    """The tables of the study, with all that a study has where it asks for it.

    That is pairs of classes, images that fell into near classes, displacements, curves, reliabilities and nulls.
    """
    random = numpy_generator(0, "sampled tables")
    names = names or tuple(str(label) for label in range(n_classes))
    tables = study_tables(n_classes, names)
    pairs, outcomes, moved, curves, reliability = [], [], [], [], []
    for model in MODELS:
        for layer, n_features in LAYERS.items():
            places = random.normal(size=(n_classes, 3))
            places[: n_classes // 2] += 2.5
            apart = np.linalg.norm(places[:, None] - places, axis=2)
            unit = places / np.linalg.norm(places, axis=1, keepdims=True)
            where = {"model": model, "layer": layer}
            for measure, parameters, values in (
                ("centroid_distance", "unit=feature corrected=false", apart),
                ("centroid_cosine", "", unit @ unit.T),
            ):
                pairs += [
                    {
                        **where, "class_index": i, "other_class_index": j, "measure": measure,
                        "parameters": parameters, "value": float(values[i, j]), "stderr": 0.1,
                        "null": 0.5, "null_p": 0.02,
                    }
                    for i, j in itertools.combinations(range(n_classes), 2)
                ]  # fmt: skip
            moved += _moved(where, n_features, names, random)
            curves += _curves(where, names, random)
            reliability += [
                {
                    **where, "measure": measure, "parameters": parameters, "reliability": value, "low": value - 0.2,
                    "high": min(1.0, value + 0.1), "of_ranks": value, "standard_deviation": 3.0, "standard_error": 1.0,
                    "n_classes": n_classes,
                }
                for measure, parameters, value in (
                    ("pca_dimension", "fraction=0.95", float(random.uniform(0.2, 0.9))),
                    ("participation_ratio", "", float(random.uniform(0.6, 0.95))),
                )
            ]  # fmt: skip
        near = np.exp(-2 * apart) * (1 - np.eye(n_classes))
        for strength, label in itertools.product(STRENGTHS[1:], range(n_classes)):
            fallen = random.binomial(N_IMAGES, 1 - _survival(model, strength))
            into = random.choice(n_classes, size=fallen, p=near[label] / near[label].sum())
            outcomes += [
                {
                    "model": model, "attack": "pgd", "parameters": "", "strength": strength,
                    "image": f"{label}/{image}", "label": label, "clean_prediction": label,
                    "last_prediction": int(last), "robust_last": bool(last == label),
                    "robust_any": bool(last == label),
                }
                for image, last in enumerate([*into, *[label] * (N_IMAGES - fallen)])
            ]  # fmt: skip
    return tables | {
        "geometry": conform("geometry", pl.concat([tables["geometry"], conform("geometry", moved)])).with_columns(
            pl.lit(40.0).alias("null"), pl.lit(0.01).alias("null_p")
        ),
        "pairs": conform("pairs", pairs),
        "outcomes": conform("outcomes", outcomes),
        "curves": conform("curves", curves),
        "reliability": conform("reliability", reliability),
        "transfer": conform("transfer", _transfer()),
        "convergence": conform("convergence", _convergence()),
        "training": conform("training", _training(n_classes)),
        "training_probes": conform("training_probes", _probes(names)),
        "training_accuracy": conform("training_accuracy", _probed_accuracy(names)),
    }


def _transfer() -> list[dict[str, Any]]:
    """What falls on its maker falls half as often elsewhere; two networks share fewer images than one with itself."""
    return [
        {
            "source_model": maker, "target_model": judge, "attack": "pgd", "parameters": "", "strength": strength,
            "n_images": 200, "n_clean_correct": n_correct,
            "n_misclassified": int(n_correct * (1 - _survival(maker, strength)) / (1 + (maker != judge))),
        }
        for maker, judge, strength in itertools.product(MODELS, MODELS, STRENGTHS)
        for n_correct in [20 if "random" in (maker, judge) else 190]
    ]  # fmt: skip


def _convergence() -> list[dict[str, Any]]:
    return [
        {
            "model": model, "attack": "pgd", "parameters": f"steps={n_steps}", "strength": 0.1, "n_steps": n_steps,
            "step": step, "n_images": 200, "n_robust": int(50 * place + 90 * np.exp(-step / 4)),
        }
        for place, model in enumerate(MODELS)
        for n_steps in (20, 40)
        for step in range(n_steps + 1)
    ]  # fmt: skip


def _training(n_classes: int) -> list[dict[str, Any]]:
    """The losses of two networks; the adversarial one is judged each fifth epoch, and collapses after 30."""
    rows: list[dict[str, Any]] = []
    for model, epoch in itertools.product(MODELS[1:], range(1, 41)):
        row = {
            "model": model,
            "epoch": epoch,
            "loss": 2.3 * np.exp(-epoch / (15 if model == "standard" else 60)),
            "n_classes": n_classes,
            "n_images": 0,
        }
        if model == "adversarial" and epoch % 5 == 0:
            pgd, fgsm = (10, 190) if epoch > 30 else (3 * epoch, 4 * epoch)
            row |= {"epsilon": 0.1, "n_images": 200, "n_robust_pgd": pgd, "n_robust_fgsm": fgsm}
        rows.append(row)
    return rows


def _probes(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Participation ratios that fall while two networks are trained."""
    return [
        {
            "model": model,
            "epoch": epoch,
            "layer": layer,
            "class_index": label,
            "class_name": name,
            "measure": "participation_ratio",
            "parameters": "",
            "value": 20 / (1 + epoch / 10) + label % 5,
            "n_points": N_POINTS,
            "n_features": n_features,
            "split": "test",
        }
        for model, (layer, n_features), epoch, (label, name) in itertools.product(
            MODELS[1:], LAYERS.items(), (0, 20, 40), enumerate(names)
        )
    ]


def _probed_accuracy(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "epoch": epoch,
            "class_index": label,
            "class_name": name,
            "n_images": N_IMAGES,
            "n_clean_correct": 4 + (3 * epoch) // 4,
            "n_robust": epoch // 4,
            "attack": "pgd",
            "parameters": "loss=ce steps=10",
            "epsilon": 0.1,
            "split": "test",
        }
        for model, epoch, (label, name) in itertools.product(MODELS[1:], (0, 20, 40), enumerate(names))
    ]


def other_tables(n_classes: int = 10, names: tuple[str, ...] | None = None) -> dict[str, pl.DataFrame]:
    """What a study says of two other datasets: one of the same classes, one of others."""
    random = numpy_generator(0, "foreign tables")
    names = names or tuple(str(label) for label in range(n_classes))
    shifted, detection = [], []
    for model in MODELS:
        clean = random.binomial(N_IMAGES, _survival(model, 0.0), size=n_classes)
        there = random.binomial(30, _survival(model, 0.08), size=n_classes)
        shifted += [
            {
                "model": model, "dataset": "photographs", "class_index": label, "class_name": names[label],
                "n_images": 30, "n_correct": int(there[label]), "accuracy": there[label] / 30, "n_clean": N_IMAGES,
                "n_clean_correct": int(clean[label]), "clean_accuracy": clean[label] / N_IMAGES,
            }
            for label in range(n_classes)
        ]  # fmt: skip
        scores = [("", "max_softmax")]
        scores += [(layer, score) for layer in LAYERS for score in ("nearest_centroid", "mahalanobis", "residual")]
        for layer, score in scores:
            area = float(random.uniform(0.4, 0.95))
            detection.append(
                {
                    "model": model, "dataset": "clothes", "layer": layer, "score": score, "auroc": area,
                    "low": area - 0.04, "high": area + 0.04, "n_in_distribution": 400, "n_ood": 200,
                }
            )  # fmt: skip
    return {"shifts": conform("shifts", shifted), "ood": conform("ood", detection)}


def intervened_tables(n_classes: int = 10, names: tuple[str, ...] | None = None) -> dict[str, pl.DataFrame]:
    """Directions of one layer projected out and kept alone: leading ones matter more than random ones."""
    random = numpy_generator(0, "intervened tables")
    names = names or tuple(str(label) for label in range(n_classes))
    rows = []
    ways = [("leading", 0), *itertools.product(("random", "random_rescaled"), range(2))]
    for model, of, keep, k in itertools.product(MODELS, ("class", "all"), ("without", "only"), (1, 5, 20)):
        for (directions, number), (label, name) in itertools.product(ways, enumerate(names)):
            lost = {"leading": 0.5, "random": 0.02, "random_rescaled": 0.2}[directions] * k / 20
            lost = lost if keep == "without" else 0.5 - lost
            clean, robust = (_survival(model, strength) * (1 - lost) for strength in (0.0, 0.1))
            n_clean = random.binomial(N_IMAGES, clean)
            n_robust = random.binomial(n_clean, robust / clean)
            for iterate in ("last", "any"):
                rows.append(
                    {
                        "model": model, "intervention": "penultimate", "layer": "penultimate", "of": of, "keep": keep,
                        "n_directions": k, "directions": directions, "draw": number, "class_index": label,
                        "class_name": name, "attack": "pgd", "parameters": "loss=ce steps=20 step_size=0.0125",
                        "strength": 0.1, "iterate": iterate, "n_images": N_IMAGES, "n_clean_correct": n_clean,
                        "n_robust": n_robust, "clean_accuracy": n_clean / N_IMAGES,
                        "robust_accuracy": n_robust / N_IMAGES, "share_of_variance": lost, "scale": 1.0,
                        "mean_squared_change": 1.0, "dimension": 12 + k if keep == "without" else k, "n_points": 80,
                        "split": "test",
                    }
                )  # fmt: skip
    return {"interventions": conform("interventions", rows)}


def _moved(
    where: dict[str, str], n_features: int, names: tuple[str, ...], random: np.random.Generator
) -> list[dict[str, Any]]:
    rows = []
    for strength, (label, name) in itertools.product(STRENGTHS[1:], enumerate(names)):
        own, toward = random.uniform(0.5, 0.9), random.uniform(0.01, 0.08)
        values = {
            "displacement": 30 * strength,
            "displacement_relative": 4 * strength * random.uniform(0.7, 1.3),
            "displacement_cosine": 0.4,
            "displacement_own": own,
            "displacement_toward": toward,
            "displacement_outside": 1 - own - toward,
            "displacement_own_held_out": 0.9,
            "displacement_toward_held_out": 0.01,
            "displacement_outside_held_out": 0.09,
            "displacement_own_random": 20 / n_features,
            "displacement_toward_random": 1 / n_features,
            "displacement_outside_random": 1 - 21 / n_features,
        }
        rows += [
            {
                **where, "class_index": label, "class_name": name, "measure": measure, "attack": "pgd",
                "parameters": "", "strength": strength, "value": value, "stderr": 0.02, "n_points": N_IMAGES,
                "n_features": n_features,
            }
            for measure, value in values.items()
        ]  # fmt: skip
    return rows


def _curves(where: dict[str, str], names: tuple[str, ...], random: np.random.Generator) -> list[dict[str, Any]]:
    """Participation ratios that level off at values of their own; the last size is extrapolated."""
    sizes = (20, 40, N_POINTS, 4 * N_POINTS)
    limits = [*random.uniform(8, 20, size=len(names)), 14.0]
    return [
        {
            **where, "class_index": label, "class_name": name, "measure": "participation_ratio", "parameters": "",
            "n_points": size, "value": 1 / (1 / limit + 1 / size), "standard_deviation": 0.2, "ceiling": size - 1.0,
            "extrapolated": size > N_POINTS,
        }
        for label, name, limit in zip([*range(len(names)), WHOLE], [*names, ""], limits, strict=True)
        for size in sizes[: 4 if label % 2 == 0 else 3]
    ]  # fmt: skip


def concluded_tables(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The medians of these associations, as if they had been tested, and networks by classes."""
    of_attacks = pl.col("strength").is_null() | (pl.col("strength") > 0)  # at 0 it is the clean accuracy
    known = tables["associations"].filter(pl.col("coefficient").is_finite(), of_attacks)
    medians = known.group_by("model", "method", "controls", maintain_order=True).agg(
        pl.len().alias("n_cells"),
        pl.col("coefficient").median().alias("median"),
        pl.lit(0.2).alias("p_median"),
        (pl.col("coefficient") < 0).sum().alias("n_negative"),
        pl.lit(0).alias("n_seen"),
        pl.lit("").alias("gate"),
    )
    apart = within_between_table(tables["geometry"], tables["robustness"], tables["models"], permutations=19)
    return {"specifications": conform("specifications", medians), "within_between": apart}


def study_pictures(n_classes: int = 10, names: tuple[str, ...] | None = None) -> list[Picture]:
    """Spectra of every class, correlations of two classes and four attacked digits a network."""
    random = numpy_generator(0, "report pictures")
    names = names or tuple(str(label) for label in range(n_classes))
    digits = load("digits")
    pictures = []
    for model in MODELS:
        for layer, n_features in LAYERS.items():
            for label in range(n_classes):
                rank = np.arange(1, min(N_POINTS - 1, n_features) + 1)
                decay = {"random": 1.1, "standard": 1.6, "adversarial": 2.0}[model] + 0.1 * random.normal()
                eigenvalues = rank**-decay * np.exp(-rank / 60)
                pictures.append(spectrum(eigenvalues, model, layer, names[label], n_features))
            for label in range(min(2, n_classes)):
                shared = random.normal(size=(N_POINTS, 3)) @ random.normal(size=(3, 48))
                points = shared * (0.3 + 0.4 * (model != "random")) + random.normal(size=(N_POINTS, 48))
                matrix = np.corrcoef(points.T)
                mean = float(np.abs(matrix[~np.eye(48, dtype=bool)]).mean())
                pictures.append(correlation(matrix, model, layer, names[label], label, mean))
        for index in range(4):
            image = digits.read(index)[0].numpy()
            change = 0.1 * np.sign(random.normal(size=(8, 8)))
            label = index % n_classes
            last = (label + index) % n_classes
            named = {
                "model": model, "class_name": names[label], "image": f"digits/test/{index}", "label": label,
                "clean_prediction": label, "last_prediction": last,
                "clean_name": names[label], "last_name": names[last],
            }  # fmt: skip
            pictures.append(example(image, np.clip(image + change, 0, 1), **named))
    if n_classes >= 3:
        pictures.append(class_points(n_features=12, d=6, counts=(12, 9, 15), first=0, model="standard")[1])
    return pictures


def spectrum(
    eigenvalues: Any, model: str = "a", layer: str = "l", class_name: str = "c", n_features: int = 8
) -> Picture:
    """The spectrum of a class."""
    names = {"model": model, "layer": layer, "class_name": class_name, "n_points": N_POINTS, "n_features": n_features}
    return Picture("spectrum", names, {"eigenvalues": eigenvalues})


def correlation(
    matrix: Any, model: str = "a", layer: str = "l", class_name: str = "c", class_index: int = 0, mean: float = 0.1
) -> Picture:
    """The correlations between the features of a class."""
    names = {"model": model, "layer": layer, "class_name": class_name, "class_index": class_index}
    return Picture("correlation", names | {"mean_absolute": mean, "baseline": 0.089}, {"matrix": matrix})


def example(original: Any, adversarial: Any, **names: Any) -> Picture:
    """An attacked image, misclassified if nothing else is said."""
    usual = {
        "model": "a", "attack": "pgd", "strength": 0.1, "class_name": "c", "image": "i", "label": 0,
        "clean_prediction": 0, "last_prediction": 1,
    }  # fmt: skip
    return Picture("example", usual | names, {"original": original, "adversarial": adversarial})


STUDY: dict[str, Any] = {
    "name": "digits",
    "question": "Are the digits that survive an attack the ones whose activations occupy fewer dimensions?",
    "seed": 0,
    "data": {
        "source": "digits",
        "same_images": False,
        "geometry": {"split": "test", "images_per_class": 80},
        "robustness": {"split": "test", "images_per_class": 40},
    },
    "models": [
        {"name": "random", "source": "small:cnn", "training": {"objective": "random", "seeds": [0]}},
        {"name": "standard", "source": "small:cnn", "training": {"objective": "standard", "epochs": 10, "seeds": [0]}},
        {
            "name": "adversarial",
            "source": "small:cnn",
            "training": {"objective": "adversarial", "epochs": 20, "epsilon": 0.2, "steps": 7, "seeds": [0]},
        },
    ],
    "layers": ["flatten", "penultimate"],
    "measures": [
        {"name": "pca_dimension", "fraction": 0.95, "scaling": "none"},
        {"name": "participation_ratio", "scaling": "none"},
    ],
    "attacks": [
        {"kind": "pgd", "name": "pgd", "norm": "linf", "epsilons": list(STRENGTHS), "steps": 20, "restarts": 1}
    ],
}

FINDINGS = (
    Conclusion(
        kind="association",
        title="Within the standard network, ten classes cannot tell whether dimension and robustness go together.",
        text="At ε = 0.1 the Pearson correlation across classes is −0.41, with a 95% interval from −0.85 to 0.25. "
        "The interval holds zero, and a relation as strong as −0.85.\n\nWith clean accuracy held fixed it is −0.22.",
        caveats=(
            "Ten classes resolve a correlation to about ±0.55: only a very strong relation would show.",
            "Clean accuracy goes along with dimension, and holding it fixed corrects only in part.",
        ),
        numbers=(
            {"layer": "penultimate", "strength": 0.1, "coefficient": -0.41, "low": -0.85, "high": 0.25},
            {"layer": "flatten", "strength": 0.1, "coefficient": -0.18, "low": -0.71, "high": 0.49},
        ),
        weight=1.0,
    ),
    Conclusion(
        kind="comparison",
        title="Adversarial training lowers the dimension in the last hidden layer and raises it before.",
        text="Mean PCA dimension goes from 14.1 to 10.2 at penultimate, and from 29.3 to 36.4 at flatten.",
        caveats=("One training seed per network: the difference may be one of seeds.",),
        numbers=({"layer": "penultimate", "standard": 14.1, "adversarial": 10.2},),
        weight=0.8,
    ),
    Conclusion("sample", "No class is near its ceiling.", "The largest value is 39 of 61.", (), (), 0.2),
)  # fmt: skip


def arguments(**changes: Any) -> dict[str, Any]:
    """Arguments for `write`, with some of them changed."""
    return {
        "study": STUDY,
        "study_text": 'name = "digits"\nseed = 0\n\n[data]\nsource = "digits"\n',
        "tables": study_tables(),
        "findings": FINDINGS,
        "pictures": study_pictures(),
        "rerun": "manifoldscope run digits --out runs/digits",
        "versions": {"manifoldscope": "0.1.0", "python": "3.11.7", "torch": "2.11.0", "device": "cpu, 2 threads"},
        "failed": [],
        **changes,
    }


def drawn(name: str, tables: dict[str, pl.DataFrame], pictures: Sequence[Picture] = (), **study: Any) -> list[Figure]:
    """The figures of one name, from these tables; the study file with some of its sections changed."""
    return draw(name, tables, pictures=pictures, study=STUDY | study)


def chart_of(name: str, tables: dict[str, pl.DataFrame], title: str = "") -> Chart:
    """The first figure of one name whose title holds a text."""
    return next(figure.chart for figure in drawn(name, tables) if title in figure.title)


def n_titles(chart: Chart) -> int:
    """How many points of a figure are explained when pointed at."""
    return chart.svg().count("<title>")


def written(out: Path, **arguments: Any) -> Path:
    """The page and its figures on the disk."""
    for name, content in render(**arguments).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return out / "report.html"


@pytest.fixture(scope="session")
def tables() -> dict[str, pl.DataFrame]:
    """The tables of a study that samples nothing further."""
    return study_tables()


@pytest.fixture(scope="session")
def sampled() -> dict[str, pl.DataFrame]:
    """The tables of a study with pairs, displacements, curves and reliability."""
    return sampled_tables()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the whole study."""
    return written(tmp_path_factory.mktemp("report"), **arguments())
