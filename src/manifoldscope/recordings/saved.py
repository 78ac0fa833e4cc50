"""Manifolds in a file of our own, safetensors: with their labels, layers and names."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from manifoldscope.errors import DataError, GeometryError
from manifoldscope.files import open_regular, require_memory, why
from manifoldscope.geometry import ClassManifold
from manifoldscope.recordings.labels import text_of


def save_manifolds(path: str | os.PathLike[str], manifolds: Sequence[ClassManifold]) -> None:
    """Write manifolds to one safetensors file, with their labels, layers and names."""
    told = ("label", "layer", "name", "resolution", "pool")
    about = [{name: getattr(manifold, name) for name in told} for manifold in manifolds]
    points = {str(index): m.points.contiguous().cpu() for index, m in enumerate(manifolds)}
    save_file(points, os.fspath(path), metadata={"manifolds": json.dumps(about)})


def load_manifolds(path: str | os.PathLike[str]) -> list[ClassManifold]:
    """The manifolds that `save_manifolds` wrote, in their order.

    Raises:
        DataError: no such file, no regular one, or one that it did not write.
        GeometryError: points that cannot be measured, such as NaN.
    """
    file = Path(os.path.expanduser(path))
    try:
        with open_regular(file) as regular:
            require_memory(2 * os.fstat(regular.fileno()).st_size)
        with safe_open(file, framework="pt") as opened:
            about = json.loads((opened.metadata() or {})["manifolds"])
            if not isinstance(about, list) or not about:
                raise ValueError("it names no manifolds")
            return [_described(opened.get_tensor(str(index)), one) for index, one in enumerate(about)]
    except GeometryError as error:
        raise GeometryError(f"{file.name}: {error}") from error
    except (
        OSError,
        SafetensorError,
        LookupError,
        ValueError,
        TypeError,
        RuntimeError,
        AttributeError,
        MemoryError,
    ) as error:
        raise DataError(f"{file.name} cannot be read as saved manifolds ({why(error)})") from error


def _described(points: Tensor, about: Any) -> ClassManifold:
    label, layer, name, resolution = about["label"], about["layer"], about["name"], about.get("resolution", -1.0)
    if type(label) is not int or not isinstance(layer, str) or not isinstance(name, str):
        raise ValueError(f"label {label!r}, layer {layer!r}, name {name!r}: expected a whole number and text")
    if type(resolution) not in (int, float) or not -1 <= resolution < 1:
        raise ValueError(f"resolution {resolution!r}: expected a share below 1")
    pool = about.get("pool", "")
    if not isinstance(pool, str):
        raise ValueError(f"pool {pool!r}: expected text")
    return ClassManifold(
        points,
        label=label,
        layer=text_of(layer),
        name=text_of(name),
        resolution=float(resolution),
        pool=text_of(pool),
    )
