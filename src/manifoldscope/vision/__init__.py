"""Images and networks: where they come from, how they meet, and what the layers answer.

The functions `images`, `network` and `activations` are public at the top of the package; here those names are modules.
"""

from manifoldscope.vision.activations import (
    LayerRow,
    layer_table,
    n_features,
)
from manifoldscope.vision.datasets import DATASETS, load
from manifoldscope.vision.fast import FastNetwork, faster
from manifoldscope.vision.images import Draw, ImageSet, batches, choose_classes, draw
from manifoldscope.vision.jacobian import JacobianNorms, jacobian_norm, jacobian_norms
from manifoldscope.vision.layers import PENULTIMATE, POOLS, Layer
from manifoldscope.vision.network import Network, as_network, logits, seeded, undisturbed
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.projection import with_projection
from manifoldscope.vision.raw import RawImages
from manifoldscope.vision.small import SMALL, build
from manifoldscope.vision.sources import SOURCES
from manifoldscope.vision.weights import Fitted, Loaded, file_digest, fit, load_weights

__all__ = [
    "DATASETS",
    "PENULTIMATE",
    "POOLS",
    "SMALL",
    "SOURCES",
    "Draw",
    "FastNetwork",
    "Fitted",
    "ImageSet",
    "JacobianNorms",
    "Layer",
    "LayerRow",
    "Loaded",
    "Network",
    "Preprocessing",
    "RawImages",
    "as_network",
    "batches",
    "build",
    "choose_classes",
    "draw",
    "faster",
    "file_digest",
    "fit",
    "jacobian_norm",
    "jacobian_norms",
    "layer_table",
    "load",
    "load_weights",
    "logits",
    "n_features",
    "seeded",
    "undisturbed",
    "with_projection",
]
