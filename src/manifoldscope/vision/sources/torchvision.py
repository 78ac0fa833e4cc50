"""The classifiers of torchvision."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from manifoldscope.errors import ModelError, unknown
from manifoldscope.vision.checkpoints import RECIPE, read_checkpoint
from manifoldscope.vision.network import Network, seeded
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources.files import from_file, normalisation
from manifoldscope.vision.sources.source import SOURCES
from manifoldscope.vision.usercode import brief
from manifoldscope.vision.weights import Fitted, fit


@SOURCES.register("torchvision")
def torchvision(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    crop: int | None = None,
    resize: int | None = None,
    n_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """A classifier of torchvision's, with the preprocessing and normalisation of its weights.

    `weights` is one of torchvision's names ("DEFAULT", "IMAGENET1K_V1") or a file. A file, and random weights, take
    the preprocessing of IMAGENET1K_V1 where the architecture has it, else of DEFAULT; the two may resize differently
    (256 and 232 for `resnet50`), so give `resize` for a file made with the other. `n_classes` is for a file with
    another number of outputs than ImageNet's 1,000.
    """
    from torchvision.models import get_model, get_model_weights

    if name not in classifiers():
        raise ModelError(f"torchvision: {unknown('network', name, classifiers())}")
    known: Any = get_model_weights(name)
    named = weights.removeprefix(f"{known.__name__}.") if weights is not None else ""
    if weights is None or named not in known.__members__:
        entry = known.__members__.get("IMAGENET1K_V1", known.DEFAULT)
        if weights is not None and not Path(weights).expanduser().is_file():
            raise ModelError(
                f"torchvision:{name}: weights = {weights!r} is neither a file nor one of {', '.join(known.__members__)}"
            )
    else:
        entry = known[named]
    arguments: dict[str, Any] = {} if n_classes is None else {"num_classes": n_classes}
    if weights is not None and name in ("googlenet", "inception_v3"):
        # ported from TensorFlow, whose normalisation their weights expect; those that a study trained were not
        arguments["transform_input"] = named in known.__members__ or RECIPE not in read_checkpoint(weights).metadata
    with seeded(seed, "weights", name), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two old networks announce a change of their random weights
        module: nn.Module = get_model(name, weights=None, **arguments)
    transforms = entry.transforms()
    fitted: Fitted | None = None
    if weights is None:
        provenance: dict[str, Any] = {"weights": "random", "seed": seed}
    elif named in known.__members__:
        try:
            state = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # offline, a proxy, a full disk, a broken download: one sentence for all
            raise ModelError(
                f"torchvision:{name}: the weights {entry.name} could not be downloaded ({brief(error)}); download "
                f"{entry.url} elsewhere and give the file as weights"
            ) from error
        fit(module, state, f"torchvision:{name}")
        provenance = {"weights": entry.name, "url": entry.url}
    else:
        provenance, fitted = from_file(module, weights, f"torchvision:{name}")
    means, stds, said = normalisation(
        f"torchvision:{name}", mean, std, fitted, channels=3, own=(transforms.mean, transforms.std)
    )
    side = crop or transforms.crop_size[0]
    preprocessing = Preprocessing(
        crop=side,
        resize=resize or round(side * transforms.resize_size[0] / transforms.crop_size[0]),
        interpolation=transforms.interpolation.value,
    )
    return Network(
        module,
        name=name,
        mean=means,
        std=stds,
        preprocessing=preprocessing,
        class_names=tuple(entry.meta["categories"]) if weights is not None and n_classes is None else None,
        provenance={"source": f"torchvision:{name}", **provenance, **said, "preprocessing": str(entry)},
    )


def classifiers() -> list[str]:
    """Every classifier of torchvision, by name."""
    from torchvision import models

    return [str(name) for name in models.list_models(module=models)]
