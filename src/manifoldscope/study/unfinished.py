"""Unfinished: what a unit that takes long needs to go on when it is interrupted, until it is published.

DIR/unfinished/<key>/    of one unit, whose lock is held by whoever writes there
"""

from __future__ import annotations

from pathlib import Path

from manifoldscope.study.drafts import remove
from manifoldscope.study.locks import held
from manifoldscope.study.outputs import move_aside

PLACE = "unfinished"


def folder_of(folder: Path, key: str) -> Path:
    """The folder of one unit, made if it is not there. What is in its way is moved aside, links too.

    Raises:
        OSError: it cannot be made.
    """
    for path in (folder / PLACE, folder / PLACE / key):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            move_aside(folder, path)
        path.mkdir(exist_ok=True)
    return folder / PLACE / key


def forget(folder: Path, key: str) -> None:
    """Remove what a unit left that has been published."""
    if not (folder / PLACE).is_symlink():
        remove(folder / PLACE / key)


def sweep(folder: Path) -> None:
    """Forget the units that have been published, where a process was killed just before it did."""
    for home in (folder / PLACE).glob("*"):
        finished = any((folder / "units").glob(f"*/{home.name}/manifest.json"))
        if finished and not held(folder / "locks" / home.name):
            forget(folder, home.name)
