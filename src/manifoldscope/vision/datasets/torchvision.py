"""The datasets of torchvision, where they were downloaded."""

from __future__ import annotations

import hashlib
import inspect
import os
from pathlib import Path
from typing import Any

from manifoldscope.errors import DataError, unknown
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.images import ImageSet

EVALUATED = ("test", "val", "validation", "valid")
"""The parts that datasets are usually evaluated on, the first that there is."""


@DATASETS.register("torchvision", splits=(), needs_root="", named="NAME")
def torchvision(name: str, *, split: str | None = None, root: str | None = None) -> ImageSet:
    """A classification dataset of torchvision's by the name of its class, such as torchvision:CIFAR10.

    `root` is the folder that torchvision downloaded it into; nothing is downloaded here. `split` is one of its parts;
    where it has only a training part and another, "train" and "test". torchvision reads the files, some of which are
    pickled (CIFAR's), after a look at their MD5 digest.
    """
    from torchvision import datasets

    known = [one for one in datasets.__all__ if inspect.isclass(getattr(datasets, one))]
    if name not in known:
        raise DataError(f"torchvision: {unknown('dataset', name, known)}")
    kind: Any = getattr(datasets, name)
    parameters = inspect.signature(kind).parameters
    settings: dict[str, Any] = {}
    if "root" in parameters:
        if root is None:
            raise DataError(f"torchvision:{name}: no root was given; expected the folder that it was downloaded into")
        settings["root"] = root
    if "download" in parameters:
        settings["download"] = False
    if "train" in parameters:
        return _opened(kind, settings, "train", split or "test", name, root)
    if "split" not in parameters:
        if split not in (None, "all"):
            raise DataError(f"torchvision:{name} has no parts; leave out split = {split!r}")
        return _opened(kind, settings, "", "all", name, root)
    if split is not None:
        return _opened(kind, settings, "split", split, name, root)
    for part in EVALUATED:
        try:
            return _opened(kind, settings, "split", part, name, root)
        except DataError as error:
            if not isinstance(error.__cause__, ValueError):  # by which torchvision says that there is no such part
                raise
    raise DataError(f"torchvision:{name} has none of the parts {', '.join(EVALUATED)}; say which one with split")


def _opened(kind: Any, settings: dict[str, Any], parameter: str, split: str, name: str, root: str | None) -> ImageSet:
    """One part of a dataset; `parameter` says it: "train", "split", or "" where there are no parts."""
    where = f"torchvision:{name}"
    if parameter == "train":
        if split not in ("train", "test"):
            raise DataError(f"{where}: {unknown('split', split, ('train', 'test'))}")
        settings = {**settings, "train": split == "train"}
    elif parameter:
        settings = {**settings, "split": split}
    try:
        dataset = kind(**settings)
    except Exception as error:  # files that are not there, no such part, or what else it asks for
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{where} cannot be opened as {split!r} ({told}); download it with torchvision, or make it in a function "
            "of your own (python:FILE.py:FUNCTION)"
        ) from error
    state = files_state(Path(root)) if root is not None else ""
    return ImageSet.from_dataset(dataset, source=where, split=split, state=state)


def files_state(folder: Path) -> str:
    """A text that changes when a file below a folder does: a digest of names, sizes and times."""
    content = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(place, file)
            try:
                status = path.stat()
                told = f"{path.relative_to(folder)}\x1f{status.st_size}\x1f{status.st_mtime_ns}\n"
            except OSError:  # a link to nothing
                told = f"{path.relative_to(folder)}\x1fgone\n"
            content.update(told.encode(errors="surrogatepass"))
    return content.hexdigest()
