"""Datasets of Hugging Face's library `datasets`: of its hub, or saved to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifoldscope.errors import DataError, unknown
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.torchvision import EVALUATED, files_state
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.usercode import brief


@DATASETS.register("huggingface", splits=(), needs_root="", named="NAME")
def huggingface(name: str, *, split: str | None = None, root: str | None = None) -> ImageSet:
    """A dataset of images and class labels of Hugging Face's, such as huggingface:ylecun/mnist; needs `datasets`.

    `NAME:CONFIGURATION` asks for one of its configurations. With `root`, the folder that `save_to_disk` wrote, it is
    read from there and NAME is what tables call it; without, `datasets` takes it from its cache or downloads it.
    """
    where = f"huggingface:{name}"
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"huggingface:{name} needs the library datasets: pip install 'manifoldscope[huggingface]'"
        ) from (None)
    where = f"huggingface:{name}"
    repository, _, configuration = name.partition(":")
    try:
        opened: Any = (
            datasets.load_dataset(repository, configuration or None) if root is None else datasets.load_from_disk(root)
        )
    except Exception as error:  # offline, no such dataset, a folder of another kind
        expected = "a folder that save_to_disk wrote" if root is not None else "the name of one on the hub"
        raise DataError(f"{where} cannot be opened ({brief(error)}); expected {expected}") from error
    if isinstance(opened, dict):
        usual = next((part for part in EVALUATED if part in opened), None)
        split = split or usual or (next(iter(opened)) if len(opened) == 1 else None)
        if split is None:
            raise DataError(f"{where} has the splits {', '.join(opened)}; say which one with split")
        if split not in opened:
            raise DataError(f"{where}: {unknown('split', split, opened)}")
        opened = opened[split]
    elif split not in (None, str(opened.split)):
        raise DataError(f"{where} was saved without splits; leave out split = {split!r}")
    pairs = _Pairs(opened, where)
    state = files_state(Path(root)) if root is not None else str(opened._fingerprint)
    return ImageSet.from_dataset(pairs, source=where, split=split or "all", state=state)


class _Pairs:
    """A dataset of rows as one of (image, label)."""

    def __init__(self, rows: Any, where: str) -> None:
        kinds = {column: type(feature).__name__ for column, feature in rows.features.items()}
        images = [column for column, kind in kinds.items() if kind == "Image"]
        labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
        for what, found in (("image", images), ("class label", labels)):
            if len(found) != 1:
                told = f"the columns {', '.join(found)}" if found else f"none among {', '.join(kinds)}"
                raise DataError(
                    f"{where} must have one column of kind {what}, and has {told}; select and cast its columns, and "
                    "save it to disk"
                )
        (self._image,), (self._label,) = images, labels
        self._rows = rows
        self.targets = rows[self._label][:]
        self.classes = list(rows.features[self._label].names)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self._rows[index]
        return row[self._image], row[self._label]
