"""Why does this vision network fail on these classes? The geometry of class manifolds beside robustness.

>>> import manifoldscope as ms
>>> images = ms.images("digits", images_per_class=20, seed=0)
>>> network = ms.network("small:cnn", channels=1, size=8, n_classes=10)
>>> manifolds = ms.activations(network, images, layers=["penultimate"])
>>> ms.measure("pca_dimension", manifolds[0]).value <= 19
True
>>> ms.evaluate(network, images, ms.PGD(epsilon=0.1, steps=5), seed=0).robust_accuracy <= 1
True

What is used most stands here; the rest is in the rooms: `ms.geometry`, `ms.attacks`, `ms.vision`, `ms.training`,
`ms.recordings`, `ms.study`, `ms.evidence` and `ms.report`. Names are loaded when they are first used, so that the
command line answers at once.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the one list of public names: `_public` reads it
    from manifoldscope import attacks as attacks
    from manifoldscope import evidence as evidence
    from manifoldscope import geometry as geometry
    from manifoldscope import recordings as recordings
    from manifoldscope import report as report
    from manifoldscope import study as study
    from manifoldscope import training as training
    from manifoldscope import vision as vision
    from manifoldscope.api import associate_outcome as associate_outcome
    from manifoldscope.api import open_results as open
    from manifoldscope.api import run as run
    from manifoldscope.attacks import PGD as PGD
    from manifoldscope.attacks import evaluate as evaluate
    from manifoldscope.evidence import associate as associate
    from manifoldscope.geometry import Spectrum as Spectrum
    from manifoldscope.geometry import measure as measure
    from manifoldscope.recordings import load_points as load_points
    from manifoldscope.study import Study as Study
    from manifoldscope.vision import ImageSet as ImageSet
    from manifoldscope.vision import Layer as Layer
    from manifoldscope.vision.activations import activations as activations
    from manifoldscope.vision.datasets import images as images
    from manifoldscope.vision.sources import network as network


def _public() -> dict[str, tuple[str, str]]:
    """Where each public name is found, and under which name; a room is found in the package."""
    block = next(
        node for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body if isinstance(node, ast.If)
    )
    imports = (node for node in block.body if isinstance(node, ast.ImportFrom))
    return {str(name.asname): (str(node.module), name.name) for node in imports for name in node.names}


_PUBLIC = _public()
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'manifoldscope' has no attribute {name!r}")
    module, own = _PUBLIC[name]
    return import_module(f"{module}.{own}") if module == __name__ else getattr(import_module(module), own)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
