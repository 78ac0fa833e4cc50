"""Datasets: one source of labelled images per file."""

from manifoldscope.vision.datasets.dataset import DATASETS, dataset_entry, images, load, source_schema
from manifoldscope.vision.datasets.imagenet import imagenet_class_names, imagenet_wnids

__all__ = [
    "DATASETS",
    "dataset_entry",
    "imagenet_class_names",
    "imagenet_wnids",
    "images",
    "load",
    "source_schema",
]
