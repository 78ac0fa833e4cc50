"""Points of made-up classes, as a picture keeps them, with the whole points beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manifoldscope.pictures import Picture
from manifoldscope.seeds import numpy_generator

INDICES = (2, 3, 5, 8)


def class_points(
    *, n_features: int, d: int, counts: Sequence[int] = (12, 9, 15, 10), first: int | None = None, model: str = "net"
) -> tuple[NDArray[np.float64], Picture]:
    """All features of the points, of which the first `d` are the kept coordinates; and the picture of them."""
    random = numpy_generator(7, "made points")
    indices = np.array(INDICES[: len(counts)] if first is None else range(first, first + len(counts)))
    place = np.repeat(np.arange(len(counts)), counts)
    centres = random.normal(0, 3, (len(counts), n_features))
    spread = np.linspace(2, 0.5, n_features)
    full = centres[place] + spread * random.normal(0, 1, (len(place), n_features))
    full -= full.mean(0)
    means = np.stack([full[place == each].mean(0) for each in range(len(counts))])
    label = indices[place]
    prediction = np.where(random.random(len(place)) < 0.9, label, -1)
    attacked = np.where(random.random(len(place)) < 0.5, prediction, indices[0])
    arrays = {
        "label": label,
        "prediction": prediction,
        "adversarial_prediction": attacked,
        "margin": np.where(prediction == label, 1, -1) * random.random(len(place)),
        "clean": full[:, :d],
        "adversarial": full[:, :d] + random.normal(0, 0.4, (len(place), d)),
        "variance": np.array([((full[place == each] - means[each]) ** 2).sum(1).mean() for each in range(len(counts))]),
        "distances": ((means[:, None] - means[None]) ** 2).sum(-1),
    }
    names = {
        "model": model,
        "layer": "a",
        "pool": "",
        "attack": "pgd",
        "strength": 0.1,
        "n_features": n_features,
        "moved_within": 0.75,
        "class_names": {int(index): f"class {index}" for index in indices},
        "output_names": {},
    }
    return full, Picture("points", names, arrays)
