"""How the report says things: measures, attacks, strengths and numbers, and a study in sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from manifoldscope.tables import parameters_text

_MEASURES = {
    "pca_dimension": "PCA dimension",
    "participation_ratio": "Participation ratio",
    "effective_rank": "Effective rank",
    "two_nn": "TwoNN dimension",
    "mle": "Maximum likelihood dimension",
    "gride": "GRIDE dimension",
    "local_pca": "Local PCA dimension",
    "stable_rank": "Stable rank",
    "decay_exponent": "Decay exponent",
    "capacity": "Capacity",
    "radius": "Radius",
    "manifold_dimension": "Manifold dimension",
    "effective_capacity": "Effective capacity",
    "effective_radius": "Effective radius",
    "effective_dimension": "Effective dimension",
    "effective_alignment": "Effective alignment",
    "centroid_distance": "Centroid distance",
    "centroid_cosine": "Centroid cosine",
    "linear_margin": "Linear margin",
    "within_between_ratio": "Within- / between-class variance ratio",
    "simulated_capacity": "Simulated capacity",
    "participation_ratio_corrected": "Participation ratio, corrected",
    "rankme": "RankMe",
    "nc1_variability": "NC1, within-class variability",
    "nc2_equiangularity": "NC2, deviation from equal angles",
    "nc2_equinorm": "NC2, deviation from equal norms",
    "nc4_nearest_centroid": "NC4, disagreement with the nearest centroid",
    "jacobian_norm": "Jacobian norm",
}
_DETAILS = {
    "scaling=none": "",
    "scaling=standardise": "standardised features",
    "unit=feature": "",
    "unit=radius": "in radii",
    "corrected=false": "",
    "corrected=true": "corrected for sampling",
    "margin=0": "",
    "common=true": "",
}
_SCORES = {
    "max_softmax": "Largest softmax probability",
    "nearest_centroid": "Nearest centroid",
    "mahalanobis": "Mahalanobis distance",
    "residual": "Residual outside the class",
}
_DRAWS = ("directions", "seed")  # how a number was computed, and not which
_ATTACKS = {"pgd": "PGD", "fgsm": "FGSM", "apgd": "APGD", "autoattack": "AutoAttack"}
_ITERATES = {"last": "last iterate", "any": "any iterate"}
_SMALL_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: `digits` significant digits, a real minus sign, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "\u2212").replace(",", "\u202f" if abs(value) >= 10_000 else "")
    return f"{value:.{digits}g}".replace("-", "\u2212")


def coefficient(value: float | None) -> str:
    """A correlation: two decimals and a real minus sign."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")


def real_minus(text: str) -> str:
    """Prose with a real minus sign where a negative number has a hyphen; code and the targets of links stay.

    Example:
        >>> real_minus("r = -0.41 (-.6 to +0.2) over classes 10-20, by `--shift -1`")
        'r = −0.41 (−.6 to +0.2) over classes 10-20, by `--shift -1`'
    """
    return re.sub(r"(`+).*?\1|\]\([^)]*\)|(?<![\w.-])-(?=\.?\d)", _minus_of, text, flags=re.DOTALL)


def _minus_of(found: re.Match[str]) -> str:
    return "\u2212" if found[0] == "-" else found[0]


NORMS = {"linf": "L∞", "l2": "L2"}


def norm(name: str) -> str:
    """A norm as the field writes it."""
    return NORMS.get(name, name)


def strength(value: float) -> str:
    """A strength as people write it: 0.05, but 8/255 where the decimals would not end."""
    levels = value * 255
    if value and abs(levels - round(levels)) < 1e-6 and abs(float(f"{value:.3g}") - value) > 1e-9:
        return f"{round(levels)}/255"
    return number(value, 6)


def measure(name: str, parameters: str | None) -> str:
    """A measure in words: `pca_dimension` with `fraction=0.95` is "PCA dimension (95% of variance)"."""
    words = _MEASURES.get(name, name.replace("_", " "))
    details = []
    for part in re.split(r"\s+(?=\w+=)", (parameters or "").strip()):
        key, _, value = part.partition("=")
        if key == "fraction" and re.fullmatch(r"0?\.\d+|1(\.0*)?", value):
            details.append(f"{float(value) * 100:g}% of variance")
        elif key == "of":
            details.append(f"of {value}")
        elif key not in _DRAWS:
            details.append(_DETAILS.get(part, part))
    details = list(filter(None, details))
    return f"{words} ({', '.join(details)})" if details else words


def score(name: str) -> str:
    """A score of OOD images in words."""
    return _SCORES.get(name, name.replace("_", " "))


def noun(label: str) -> str:
    """A label inside a sentence: its first letter small, unless it begins an abbreviation or a name."""
    return label[0].lower() + label[1:] if label.partition(" ")[0][1:].islower() else label


def attack(name: str) -> str:
    """An attack in words; an unknown name stays as it is."""
    head = re.split(r"[\s_-]", name)[0]
    return _ATTACKS.get(head, head.replace("_", " ")) + name[len(head) :].replace("_", " ")


def strength_name(name: str) -> str:
    """What the strength of an attack is called."""
    return "ε" if re.split(r"[\s_-]", name)[0] in _ATTACKS else "strength"


def at_strength(name: str, value: float) -> str:
    """`ε = 0.1`, or `strength 3` for an attack that is not a ball of pixels."""
    symbol = strength_name(name)
    return f"{symbol} = {strength(value)}" if symbol == "ε" else f"{symbol} {strength(value)}"


def attack_at(name: str, value: float) -> str:
    """`PGD at ε = 0.1`."""
    return f"{attack(name)} at {at_strength(name, value)}"


def strength_axis(name: str) -> str:
    """The label of an axis of strengths, with its unit."""
    if strength_name(name) == "ε":
        return "Perturbation budget ε (pixels run from 0 to 1)"
    return f"Strength of {attack(name)}"


def iterate(name: str) -> str:
    """`last iterate` or `any iterate`."""
    return _ITERATES.get(name, name)


def count(n: int, noun: str, plural: str | None = None) -> str:
    """`three networks`, `1 network`: a number and its noun."""
    words = _SMALL_NUMBERS[n] if 1 < n < len(_SMALL_NUMBERS) else ("one" if n == 1 else number(n))
    return f"{words} {noun if n == 1 else plural or noun + 's'}"


def listing(names: Sequence[str], limit: int = 8) -> str:
    """`a, b and c`; beyond `limit`, how many more."""
    if not names:
        return "none"
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def slug(*parts: str) -> str:
    """A file name from any texts: letters, digits, dots, underscores and hyphens."""
    words = (re.sub(r"[^a-z0-9._]+", "-", part.lower()).strip("-.") for part in parts)
    return "--".join(filter(None, words))[:120]


def asked(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The study in sentences, each under a heading; a part that the study omits is omitted here."""
    lines = [
        ("Images", _data(_section(study, "data"))),
        ("Networks", "; ".join(filter(None, map(_model, _sections(study, "models"))))),
        ("Layers", listing([str(layer) for layer in _items(study.get("layers"))]) if study.get("layers") else ""),
        ("Measures", "; ".join(_measure(item) for item in _items(study.get("measures")))),
        ("Attacks", "; ".join(_attack(item) for item in _items(study.get("attacks")))),
        ("Corruptions", "; ".join(_attack(item) for item in _items(study.get("corruptions")))),
        ("Distribution shifts", "; ".join(map(_dataset, _sections(study, "shifts")))),
        ("OOD images", "; ".join(map(_dataset, _sections(study, "ood")))),
        ("Seed", str(study["seed"]) if "seed" in study else ""),
    ]
    return [(heading, sentence) for heading, sentence in lines if sentence]


def _section(study: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = study.get(name)
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _sections(study: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [item for item in _items(study.get(name)) if isinstance(item, Mapping)]


def _draw(draw: Mapping[str, Any]) -> str:
    images, split = draw.get("images_per_class"), draw.get("split")
    words = f"up to {images} images per class" if images else "all images of each class"
    return words + (f" of the {split} split" if split else "")


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    classes = data.get("classes")
    if isinstance(classes, int):
        which = f"{number(classes)} sampled classes of "
    elif classes:
        names = [str(name) for name in _items(classes)]
        which = f"{count(len(names), 'class', 'classes')} ({listing(names, 5)}) of "
    else:
        which = "all classes of "
    sentence = which + str(data.get("source", "the data set"))
    geometry, robustness = _section(data, "geometry"), _section(data, "robustness")
    if data.get("same_images"):
        return f"{sentence}; geometry and robustness share their images: {_draw(geometry or robustness)}"
    parts = [
        f"{name} from {_draw(draw)}" for name, draw in (("geometry", geometry), ("robustness", robustness)) if draw
    ]
    ending = " (different images)" if len(parts) == 2 else ""
    return "; ".join([sentence, *([" and ".join(parts) + ending] if parts else [])])


def _model(model: Mapping[str, Any]) -> str:
    name, source = str(model.get("name") or model.get("source") or "a network"), model.get("source")
    details = [str(source)] if source and source != name else []
    if defence := _section(model, "defence"):
        details.append(f"defence {defence.get('name')}")
    training = _section(model, "training")
    if training:
        objective = str(training.get("objective", ""))
        if objective == "random":
            details.append("random weights, untrained")
        else:
            words = f"{objective} training".strip()
            if training.get("n_classes"):
                words += f" on {count(int(training['n_classes']), 'class', 'classes')}"
            if training.get("epochs"):
                words += f" for {count(int(training['epochs']), 'epoch')}"
            if objective not in ("", "standard") and training.get("epsilon"):
                words += f" at ε = {strength(float(training['epsilon']))}"
            details.append(words)
            seeds = _items(training.get("seeds"))
            if len(seeds) > 1:
                details.append(f"seeds {listing([str(seed) for seed in seeds])}")
    elif model.get("weights"):
        details.append(f"weights {model['weights']}")
    return f"{name} ({', '.join(details)})" if details else name


def _measure(item: Any) -> str:
    if not isinstance(item, Mapping):
        return measure(str(item), "")
    name = str(item.get("name") or item.get("measure") or item.get("kind") or "measure")
    rest = {key: value for key, value in item.items() if key not in ("name", "measure", "kind") and value is not None}
    inner = rest.pop("parameters", {})
    rest |= inner if isinstance(inner, Mapping) else {}
    return measure(name, parameters_text(rest))


def _dataset(plan: Mapping[str, Any]) -> str:
    name, source = str(plan.get("name") or plan.get("source") or "a dataset"), plan.get("source")
    of = f"{name} ({source})" if source and source != name else name
    return f"{of}: {_draw(plan)}"


def _attack(item: Any) -> str:
    if not isinstance(item, Mapping):
        return attack(str(item))
    kind = str(item.get("kind") or item.get("name") or "attack")
    called = str(item.get("name") or kind)
    words = attack(kind) if called == kind else f"{called}: {attack(kind)}"
    if item.get("norm"):
        words += f" ({norm(item['norm'])})"
    strengths = next(
        (_items(item[key]) for key in ("epsilons", "severities", "strengths", "epsilon") if key in item), []
    )
    if strengths:
        symbol = strength_name(kind)
        texts = [strength(float(value)) if isinstance(value, int | float) else str(value) for value in strengths]
        words += f" at {symbol} = {listing(texts, 12)}" if symbol == "ε" else f" at strengths {listing(texts, 12)}"
    details = []
    if item.get("steps"):
        details.append(count(int(item["steps"]), "step"))
    if int(item.get("restarts") or 1) > 1:
        details.append(count(int(item["restarts"]), "random start"))
    return words + (f", {', '.join(details)}" if details else "")
