"""Datasets of the user's own, made by a function."""

from __future__ import annotations

from dataclasses import replace

from manifoldscope.errors import DataError
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.usercode import code_digest, made_by


@DATASETS.register("python", splits=(), needs_root="", named="FILE.py:FUNCTION")
def python(name: str, *, split: str | None = None, root: str | None = None) -> ImageSet:
    """Images of your own: python:path/to/file.py:function or python:package.module:function.

    The function gives an ImageSet, or a map-style dataset of (image, label); `root` and `split` are its arguments where
    they are given. To know whether images have changed, a study reads
    them all, beside the code.
    """
    settings = {what: value for what, value in (("root", root), ("split", split)) if value is not None}
    made, shown, _ = made_by(name, kind=DataError, settings=settings)
    if not isinstance(made, ImageSet):
        try:
            made = ImageSet.from_dataset(made, source=shown, split=split or "all")
        except DataError as error:
            raise DataError(f"{shown}: {error}") from None
    return replace(made, origin=code_digest(name))
