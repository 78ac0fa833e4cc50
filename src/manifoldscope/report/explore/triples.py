"""Attacked images of each class as small pictures for the page: original, perturbation and adversarial image."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manifoldscope.evidence import telling_classes
from manifoldscope.pictures import Picture
from manifoldscope.report import words
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.view import Explored
from manifoldscope.report.figures.examples import pixels, predicted
from manifoldscope.report.rows import Reals

MOST_BYTES = 1_000_000
"""Of all attacked images in the page, as text."""

MOST_STRIP_BYTES = 200_000
"""Of all clean images in the page, as text."""

IN_STRIP = 8
"""Clean images of each class."""

_SIDES = (128, 96, 64, 48)  # pixels; larger images are made smaller
_LOSSLESS = 48  # up to this side
_COMFORT = 120  # triples for which there is to be room before images are shown larger

Bytes = NDArray[np.uint8]


def triples(page: Explored, order: Sequence[int]) -> dict[str, Any] | None:
    """Triples of each class, spread fairly: of each class one, then of each a second, as long as there is room.

    Those of a class come network by network, and of a network first those under the attack and at the strength where
    its classes differ most.

    Args:
        order: positions of classes, the first one first.

    Returns:
        `images` (data URIs), `of` (by position of the class: network and, where the page has them, attack and strength
        by position; `under`, the same in words; `before` and `after`, the classes that are seen; `wrong`, whether the
        adversarial image is misclassified; `factor`, by which the perturbation is magnified; `images`, the places of
        the three), `side` where larger images were made smaller, and how many triples there are and are `shown`. None
        where there are none.
    """
    queues = _queues(page, order)
    if not queues:
        return None
    everything = sum(map(len, queues.values()))
    sample = [queue[0] for queue in queues.values()][:6]
    largest = max(max(pixels(picture)[0].shape[:2]) for picture in sample)
    room = MOST_BYTES // min(everything, _COMFORT)
    side = next((side for side in _SIDES if _size(sample, side) <= room), _SIDES[-1])
    strengths = [page.strengths(attack) for attack in page.attacks]
    images: dict[str, int] = {}
    shown: dict[str, list[dict[str, Any]]] = {}
    used = 0
    for place, picture in _fairly(queues):
        parts = _encoded(picture, side)
        used += sum(len(part) for part in parts if part not in images)
        if used > MOST_BYTES:
            break
        numbers = [images.setdefault(part, len(images)) for part in parts]
        shown.setdefault(str(place), []).append(_facts(page, picture, strengths) | {"images": numbers})
    return {
        "images": list(images),
        "of": shown,
        "side": side if largest > side else None,
        "n": everything,
        "shown": sum(map(len, shown.values())),
    }


def strips(page: Explored, order: Sequence[int]) -> dict[str, dict[str, Any]]:
    """A few clean images of each class beside each other, as far as there is room: by position of the class."""
    found: dict[str, dict[str, Any]] = {}
    used = 0
    thumbs = {
        picture.names["model"]: picture.arrays["thumbnails"] for picture in page.contents.pictures_of("thumbnails")
    }
    labels = {picture.names["model"]: picture.arrays["label"] for picture in page.contents.pictures_of("points")}
    for place in order:
        for model in page.networks:
            small, label = thumbs.get(model), labels.get(model)
            if small is None or label is None or len(small) != len(label):
                continue
            own = small[label == page.classes[place]][:IN_STRIP]
            if len(own) and str(place) not in found:
                text = _uri(np.concatenate(list(own.astype(np.uint8)), axis=1), lossless=small.shape[1] <= 16)
                used += len(text)
                if used > MOST_STRIP_BYTES:
                    return found
                found[str(place)] = {"uri": text, "n": len(own), "network": page.networks.index(model)}
    return found


def triple(original: Reals, adversarial: Reals) -> tuple[Bytes, Bytes, Bytes, float | None]:
    """Three pictures as bytes, and the factor by which the perturbation is magnified; None where there is none.

    The largest change is shown as the largest difference that there is from mid-grey; in grey images red adds light
    and blue takes it away.

    Args:
        original, adversarial: (h, w) or (h, w, 3), pixels in [0, 1].
    """
    change = np.nan_to_num(adversarial - original)
    largest = float(np.abs(change).max(initial=0.0))
    level = change / largest if largest else change
    if original.ndim == 2:
        red, blue = np.maximum(level, 0)[..., None], np.maximum(-level, 0)[..., None]
        between = 1 - red * np.array([0.15, 0.75, 0.85]) - blue * np.array([0.87, 0.60, 0.25])
    else:
        between = 0.5 + 0.5 * level
    before, after = (_bytes(image) for image in (original, adversarial))
    return before, _bytes(between), after, 0.5 / largest if largest else None


def _queues(page: Explored, order: Sequence[int]) -> dict[int, list[Picture]]:
    """The changed images of each class in the order in which they are shown."""
    told = {model: (attack, strength) for model, attack, strength in _telling(page)}
    found: dict[int, dict[str, list[Picture]]] = {}
    for picture in page.contents.pictures_of("example"):
        names = picture.names
        place = page.class_position.get(names["label"])
        if place is not None and names["model"] in page.networks and not np.array_equal(*pixels(picture)):
            found.setdefault(place, {}).setdefault(names["model"], []).append(picture)

    def apart(picture: Picture) -> tuple[bool, float]:
        attack, strength = told.get(picture.names["model"], ("", 0.0))
        known = _position(page, picture.names["attack"])
        return known is None or page.attacks[known] != attack, abs(picture.names["strength"] - strength)

    queues = {}
    for place in (place for place in order if place in found):
        by_network = [sorted(found[place].get(network, []), key=apart) for network in page.networks]
        longest = max(map(len, by_network))
        queues[place] = [own[turn] for turn in range(longest) for own in by_network if turn < len(own)]
    return queues


def _telling(page: Explored) -> list[tuple[str, str, float]]:
    """The attack and strength under which the classes of each network differ most."""
    return telling_classes(page.contents.tables["robustness"]).select("model", "attack", "strength").unique().rows()


def _position(page: Explored, attack: str) -> int | None:
    """Of the attack that a picture names: the page's attacks have parameters in their names where it was run twice."""
    same = [place for place, name in enumerate(page.attacks) if name == attack or name.startswith(f"{attack} ")]
    return same[0] if len(same) == 1 else None


def _fairly(queues: Mapping[int, Sequence[Picture]]) -> Iterator[tuple[int, Picture]]:
    for turn in range(max(map(len, queues.values()))):
        for place, queue in queues.items():
            if turn < len(queue):
                yield place, queue[turn]


def _facts(page: Explored, picture: Picture, by_attack: Sequence[Sequence[float]]) -> dict[str, Any]:
    names = picture.names
    original, adversarial = pixels(picture)
    attack, strength = _position(page, names["attack"]), names["strength"]
    strengths = [] if attack is None else by_attack[attack]
    return {
        "network": page.networks.index(names["model"]),
        "attack": attack,
        "strength": strengths.index(strength) if strength in strengths else None,
        "under": f"{words.attack(names['attack'])}, {words.at_strength(names['attack'], strength)}",
        "before": predicted(names, "clean"),
        "after": predicted(names, "last"),
        "wrong": names["last_prediction"] != names["label"],
        "factor": short(triple(original, adversarial)[3], 2),
    }


def _encoded(picture: Picture, side: int) -> list[str]:
    """The three pictures as data URIs, none of them larger than `side`: a part of the pixels of the perturbation, and
    means of pixels of the others."""
    before, between, after, _ = triple(*pixels(picture))
    step = -(-max(before.shape[:2]) // side)
    if step > 1:
        between = between[::step, ::step]
        before, after = _means(before, step), _means(after, step)
    lossless = max(before.shape[:2]) <= _LOSSLESS or before.ndim == 2
    return [_uri(before, lossless), _uri(between, lossless=True), _uri(after, lossless)]


def _means(image: Bytes, step: int) -> Bytes:
    height, width = (-(-size // step) for size in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _size(sample: Sequence[Picture], side: int) -> int:
    """The mean number of bytes of a triple."""
    return sum(len(part) for picture in sample for part in _encoded(picture, side)) // len(sample)


def _bytes(image: Reals) -> Bytes:
    return np.round(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)


def _uri(image: Bytes, lossless: bool) -> str:
    """PNG, or JPEG where that is allowed and smaller."""
    picture = Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    forms: dict[str, dict[str, Any]] = (
        {"png": {"optimize": True}} if lossless else {"png": {"optimize": True}, "jpeg": {"quality": 85}}
    )
    texts = []
    for form, settings in forms.items():
        stream = io.BytesIO()
        picture.save(stream, form, **settings)
        texts.append(f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode()}")
    return min(texts, key=len)
