"""Studies that never ran, of any size and with any names: their tables and pictures are made up, not computed.

Every coefficient of `associations` is the correlation of the made-up columns only by chance; what a page shows is
compared with the tables, whatever they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.pictures import Picture
from manifoldscope.report import Finding, diagnose, render
from manifoldscope.seeds import numpy_generator
from manifoldscope.tables import conform

N_POINTS, N_IMAGES, N_FEATURES = 80, 40, 256
MEASURES = (
    ("pca_dimension", "fraction=0.95"), ("participation_ratio", ""), ("effective_rank", ""), ("two_nn", ""),
    ("mle", "k=10"), ("gride", "range=4"), ("stable_rank", ""), ("decay_exponent", ""), ("capacity", ""),
    ("radius", ""), ("manifold_dimension", ""), ("centroid_distance", "unit=feature corrected=false"),
    ("within_between_ratio", ""),
)  # fmt: skip
ATTACKS = ("pgd", "apgd", "square", "gaussian_noise")
PARAMETERS = {"pgd": "loss=ce steps=20", "apgd": "loss=dlr steps=100", "square": "queries=500"}
HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "javascript:window.hacked=1",
    "</script><script>window.hacked=1</script>",
    "\u202eevil\u202c \u200b\u200d\ufeffzero",
    "__proto__",
    "constructor",
    "long " + "x" * 300,
    "a&b=c#d;e?f=%00%3Cscript%3E",
    "${window.hacked=1}{{7*7}}`",
    "same name",
    "same name",
)


@dataclass(frozen=True)
class Size:
    """How much of everything there is.

    Attributes:
        classes, networks, layers: their names.
        measures: of `MEASURES`, with their parameters.
        strengths: the same for every attack.
        with_pictures: for how many classes there are pictures.
        points_per_class: of each of these classes, how many images have points of a layer.
        trained: the last epoch of each network that was trained here.
        alike: whether all classes have the same numbers.
        name, question: of the study.
    """

    classes: Sequence[str]
    networks: Sequence[str] = ("standard", "adversarial")
    layers: Sequence[str] = ("features", "penultimate")
    measures: Sequence[tuple[str, str]] = MEASURES[:3]
    attacks: Sequence[str] = ATTACKS[:2]
    strengths: Sequence[float] = (0.0, 0.05, 0.1, 0.2)
    with_pictures: int = 6
    points_per_class: int = 20
    trained: Mapping[str, int] = field(default_factory=dict)
    alike: bool = False
    name: str = "made up"
    question: str = "Are the classes that withstand attacks the ones with fewer dimensions?"
    seed: int = 0
    study: dict[str, Any] = field(default_factory=dict)


def numbered(noun: str, n: int) -> tuple[str, ...]:
    """`class 1`, `class 2`, ..."""
    return tuple(f"{noun} {place + 1}" for place in range(n))


LARGE = Size(
    classes=numbered("class", 1000),
    networks=numbered("network", 12),
    layers=numbered("layer", 5),  # of which the page has room for three
    measures=MEASURES,
    attacks=ATTACKS[:3],
    with_pictures=12,
    name="a thousand classes",
)
ORDINARY = Size(classes=numbered("class", 10), trained={"standard": 10, "adversarial": 20})
HOSTILE_SIZE = Size(
    classes=HOSTILE, networks=HOSTILE[:5], layers=(HOSTILE[0], HOSTILE[5], HOSTILE[6]), measures=MEASURES[:2],
    attacks=("pgd", HOSTILE[1]), strengths=(0.0, 0.1), name=HOSTILE[3], question=HOSTILE[0] + HOSTILE[1],
)  # fmt: skip
SAID = Finding("association", "Nothing can be said of made-up numbers", "They are made up.", ("Made up.",), (), 1.0)
SIZES = {
    "ordinary": ORDINARY,
    "one class": Size(classes=("the only one",)),
    "one network": Size(classes=numbered("class", 5), networks=("alone",), layers=("penultimate",)),
    "no attack": Size(classes=numbered("class", 5), attacks=()),
    "hostile names": HOSTILE_SIZE,
    "two thousand points": Size(
        classes=numbered("class", 5),
        networks=("alone",),
        layers=("penultimate",),
        measures=MEASURES[:2],
        attacks=("pgd",),
        points_per_class=400,
    ),
    "at one place": Size(
        classes=numbered("class", 7),
        networks=("alone",),
        layers=("penultimate",),
        measures=MEASURES[:1],
        attacks=("pgd",),
        with_pictures=0,
        points_per_class=0,
        alike=True,
    ),
    "large": LARGE,
}


def tables_of(size: Size) -> dict[str, pl.DataFrame]:
    """The tables of a study of this size; `geometry` has a row for every class, network, layer and measure."""
    tables = {
        "models": _models(size),
        "layers": _layers(size),
        "geometry": _geometry(size),
        "checks": _checks(size),
    }
    if size.attacks:
        tables |= {
            "robustness": _robustness(size),
            "outcomes": _outcomes(size),
            "associations": _associations(size),
        }
    if size.trained:
        tables["training"] = _training(size)
    if len(size.classes) > 1:
        tables["pairs"] = _pairs(size)
    return {name: conform(name, table) for name, table in tables.items()}


def pictures_of(size: Size) -> list[Picture]:
    """Spectra and attacked images of the first classes."""
    random = numpy_generator(size.seed, "made-up pictures")
    found = []
    for model in size.networks[:3]:
        for label, name in enumerate(size.classes[: size.with_pictures]):
            names = {"model": model, "class_name": name, "class_index": label}
            for layer in size.layers[:3]:
                rank = np.arange(1, N_POINTS)
                values = rank ** -(1.2 + 0.1 * random.normal()) * np.exp(-rank / 60)
                shape = {"layer": layer, "n_points": N_POINTS, "n_features": N_FEATURES}
                found.append(Picture("spectrum", names | shape, {"eigenvalues": values}))
            if size.attacks:
                found.append(_example(size, names, random))
        if size.points_per_class:
            found += _points(size, model, random)
    return found


def arguments(size: Size) -> dict[str, Any]:
    """What `manifoldscope.report.render` is called with; findings are made up where there are too many rows."""
    tables = tables_of(size)
    measures = [{"name": name, **_settings(parameters)} for name, parameters in size.measures]
    attacks = [{"kind": name, "name": name, "epsilons": list(size.strengths)} for name in size.attacks]
    study = {
        "name": size.name,
        "question": size.question,
        "seed": size.seed,
        "data": {"source": "made-up", "geometry": {"images_per_class": N_POINTS}},
        "models": [{"name": name, "source": "made-up"} for name in size.networks],
        "layers": list(size.layers),
        "measures": measures,
        "attacks": attacks,
        **size.study,
    }
    return {
        "study": study,
        "study_text": f"# {size.name!r}\n",
        "tables": tables,
        "findings": [SAID] if size is LARGE else diagnose(tables),
        "pictures": pictures_of(size),
        "rerun": f"manifoldscope run results/study.toml --out results/{size.name}",
        "versions": {"manifoldscope": "0.1.0"},
        "failed": [f"{size.networks[0]}: made up"] if size is HOSTILE_SIZE else [],
    }


def write(arguments: Mapping[str, Any], folder: Path) -> Path:
    """The page that `render` makes of its arguments, with its figures beside it."""
    for name, content in render(**arguments).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "report.html"


# Tables ------------------------------------------------------------------------------------------------------------


def _settings(parameters: str) -> dict[str, Any]:
    return dict(part.split("=") for part in parameters.split())


def _frame(**columns: Sequence[Any]) -> pl.DataFrame:
    """Every combination of the values of the columns."""
    frame = pl.DataFrame({"": [0]})
    for name, values in columns.items():
        frame = frame.join(pl.DataFrame({name: list(values)}), how="cross")
    return frame.drop("")


def _classes(size: Size) -> pl.DataFrame:
    return pl.DataFrame({"class_index": range(len(size.classes)), "class_name": list(size.classes)})


def _models(size: Size) -> pl.DataFrame:
    n = len(size.networks)
    return pl.DataFrame({"model": list(size.networks)}).with_columns(
        source=pl.lit("made-up"), n_parameters=pl.Series(range(1000, 1000 + n)), dataset=pl.lit("made-up"),
        n_classes=pl.lit(len(size.classes)), clean_accuracy=pl.Series(np.linspace(0.95, 0.7, n)),
        provenance=pl.lit("made up"),
    )  # fmt: skip


def _layers(size: Size) -> pl.DataFrame:
    n = len(size.layers)
    places = pl.DataFrame(
        {"layer": list(size.layers), "place": range(n), "depth": np.linspace(1 / n, 1, n)}
    ).with_columns(type=pl.lit("Linear"), shape=pl.lit(str(N_FEATURES)), n_features=pl.lit(N_FEATURES))
    return _frame(model=size.networks).join(places, how="cross")


def _geometry(size: Size) -> pl.DataFrame:
    measures = pl.DataFrame(
        {"measure": [name for name, _ in size.measures], "parameters": [each for _, each in size.measures]}
    )
    frame = _frame(model=size.networks, layer=size.layers).join(measures, how="cross").join(_classes(size), how="cross")
    random = numpy_generator(size.seed, "made-up geometry")
    value = 15 + (not size.alike) * 4 * random.normal(size=frame.height)
    if len(size.measures) > 1:  # a value that is missing is shown as missing
        value[random.random(frame.height) < 0.01] = np.nan
    stderr = np.abs(0.5 * random.normal(size=frame.height))
    return frame.with_columns(
        value=pl.Series(np.round(value, 4)).fill_nan(None), stderr=pl.Series(stderr),
        n_points=pl.lit(N_POINTS), n_features=pl.lit(N_FEATURES), ceiling=pl.lit(79.0), split=pl.lit("test"),
        describes_sample=pl.lit(False), falls_when_halved=pl.lit(False),
    )  # fmt: skip


def _robustness(size: Size) -> pl.DataFrame:
    frame = _frame(model=size.networks, attack=size.attacks, strength=size.strengths).join(_classes(size), how="cross")
    random = numpy_generator(size.seed, "made-up robustness")
    clean = random.binomial(N_IMAGES, 0.93, size=frame.height)
    share = np.exp(-8 * frame["strength"].to_numpy()) * random.uniform(0.7, 1, size=frame.height)
    last = random.binomial(clean, share)
    if size.alike:
        last = clean = np.full(frame.height, N_IMAGES // 2)
    frame = frame.with_columns(
        parameters=pl.col("attack").replace_strict(PARAMETERS, default=""), norm=pl.lit("linf"), n_steps=pl.lit(20),
        n_images=pl.lit(N_IMAGES), n_clean_correct=pl.Series(clean), split=pl.lit("test"),
    )  # fmt: skip
    each = [
        frame.with_columns(iterate=pl.lit(iterate), n_robust=pl.Series(robust))
        for iterate, robust in (("last", last), ("any", random.binomial(last, 0.95)))
    ]
    return pl.concat(each).with_columns(
        clean_accuracy=pl.col("n_clean_correct") / N_IMAGES, robust_accuracy=pl.col("n_robust") / N_IMAGES
    )


def _associations(size: Size) -> pl.DataFrame:
    measures = pl.DataFrame(
        {"measure": [name for name, _ in size.measures], "parameters": [each for _, each in size.measures]}
    )
    ways = pl.DataFrame(
        [
            ("robust_accuracy", "pearson", ""),
            ("robust_accuracy", "spearman", ""),
            ("robust_accuracy", "two_draws", "margin"),
            ("log_odds", "pearson", ""),
            ("log_odds", "two_draws", "clean_accuracy"),
        ],
        schema=["outcome", "method", "controls"],
        orient="row",
    )
    frame = (
        _frame(model=size.networks, layer=size.layers, attack=size.attacks, strength=size.strengths)
        .join(pl.DataFrame({"iterate": ["last", "any"]}), how="cross")
        .join(measures, how="cross")
        .join(ways, how="cross")
    )
    random = numpy_generator(size.seed, "made-up associations")
    coefficient = np.round(np.clip(-0.2 + 0.3 * random.normal(size=frame.height), -0.99, 0.99), 6)
    p_value = np.round(random.random(frame.height), 6)
    known = len(size.classes) >= 4
    numbers = {
        "coefficient": coefficient,
        "low": np.maximum(-1, coefficient - 0.2),
        "high": np.minimum(1, coefficient + 0.2),
        "p_value": p_value,
        "p_adjusted": np.minimum(1, np.round(3 * p_value, 6)),
    }
    return frame.with_columns(
        *(pl.Series(name, values if known else [None] * frame.height, pl.Float64) for name, values in numbers.items()),
        n=pl.lit(len(size.classes)),
        n_left_out=pl.lit(0),
        gate=pl.lit(""),
        note=pl.lit("" if known else f"{len(size.classes)} pairs are too few; an association needs 4"),
    )


def _training(size: Size) -> pl.DataFrame:
    epochs = [(model, epoch) for model, last in size.trained.items() for epoch in range(1, last + 1)]
    frame = pl.DataFrame(epochs, schema=["model", "epoch"], orient="row")
    return frame.with_columns(loss=2 / pl.col("epoch"), n_classes=pl.lit(len(size.classes)), n_images=pl.lit(0))


def _pairs(size: Size) -> pl.DataFrame:
    some = range(min(40, len(size.classes)))
    frame = _frame(model=size.networks[:3], layer=size.layers[:3], class_index=some, other_class_index=some)
    frame = frame.filter(pl.col("class_index") < pl.col("other_class_index"))
    random = numpy_generator(size.seed, "made-up pairs")
    return frame.with_columns(
        measure=pl.lit("centroid_distance"), parameters=pl.lit("unit=feature corrected=false"),
        value=pl.Series(random.gamma(5, size=frame.height)), stderr=pl.lit(0.1),
    )  # fmt: skip


def _outcomes(size: Size) -> pl.DataFrame:
    some, n_classes = range(min(40, len(size.classes))), len(size.classes)
    frame = _frame(model=size.networks[:3], attack=size.attacks, strength=size.strengths, label=some, at=range(12))
    random = numpy_generator(size.seed, "made-up outcomes")
    label = frame["label"].to_numpy()
    robust = random.random(frame.height) < np.exp(-8 * frame["strength"].to_numpy())
    taken = np.where(robust, label, (label + random.integers(1, max(2, n_classes), frame.height)) % n_classes)
    return frame.with_columns(
        parameters=pl.col("attack").replace_strict(PARAMETERS, default=""), norm=pl.lit("linf"), n_steps=pl.lit(20),
        targeted=pl.lit(False), image=pl.format("made-up/{}/{}", "label", "at"), clean_prediction=pl.col("label"),
        last_prediction=pl.Series(taken), robust_last=pl.Series(taken == label), robust_any=pl.Series(taken == label),
    ).drop("at")  # fmt: skip


def _checks(size: Size) -> pl.DataFrame:
    return _frame(model=size.networks, check=("feasibility", "vanishing_gradient")).with_columns(
        passed=pl.col("check") == "feasibility", value=pl.lit(0.21), expected=pl.lit("at most 0.3"),
        note=pl.lit("made up"),
    )  # fmt: skip


def _points(size: Size, model: str, random: np.random.Generator) -> list[Picture]:
    """Points of the classes that have pictures, in the first layers, and the images themselves."""
    n_classes, n_axes = len(size.classes[: size.with_pictures]), 8
    label = np.repeat(np.arange(n_classes), size.points_per_class)
    last = np.where(random.random(len(label)) < 0.5, label, (label + 1) % n_classes)
    named = dict(enumerate(size.classes))
    found = []
    for layer in size.layers[:2]:
        centres = 4 * random.normal(size=(n_classes, n_axes))
        clean = centres[label] + random.normal(size=(len(label), n_axes)) / np.arange(1, n_axes + 1)
        arrays = {
            "label": label, "prediction": label, "margin": random.normal(2, 1, len(label)), "clean": clean,
            "variance": np.full(n_classes, 12.0),
            "distances": ((centres[:, None] - centres) ** 2).sum(-1),
        }  # fmt: skip
        if size.attacks:
            arrays |= {"adversarial": clean + 0.5 * (centres[last] - clean), "adversarial_prediction": last}
        names = {
            "model": model, "layer": layer, "class_names": named, "output_names": named, "n_features": N_FEATURES,
            "attack": size.attacks[0] if size.attacks else None,
            "strength": size.strengths[-1] if size.attacks else None,
        }  # fmt: skip
        found.append(Picture("points", names, arrays))
    thumbs = random.integers(0, 256, (len(label), 8, 8, 3))
    return [*found, Picture("thumbnails", {"model": model}, {"thumbnails": thumbs})]


def _example(size: Size, names: dict[str, Any], random: np.random.Generator) -> Picture:
    label = int(names["class_index"])
    last = (label + 1) % len(size.classes)
    known = {
        "attack": size.attacks[0], "strength": size.strengths[-1], "image": f"{names['class_name']}/0.png",
        "label": label, "clean_prediction": label, "last_prediction": last, "clean_name": size.classes[label],
        "last_name": size.classes[last],
    }  # fmt: skip
    image = random.random((16, 16, 3))
    adversarial = np.clip(image + 0.1 * np.sign(random.normal(size=image.shape)), 0, 1)
    return Picture("example", {**names, **known}, {"original": image, "adversarial": adversarial})
