"""Other people's files: measures, attacks, datasets, kinds of units, figures, ... that stand outside the package.

A study names them, `plugins = ["path/to/file.py", "package.module"]`; installed packages name theirs by entry points of
the group `manifoldscope`. To load one is to run it: whatever it registers is then there as if it were ours, and a
digest of its file is in the keys of all that it computes.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from manifoldscope.errors import ManifoldscopeError, StudyError
from manifoldscope.files import read_bytes
from manifoldscope.outline import GROUP
from manifoldscope.registry import Registry

LARGEST = 2**24
"""Bytes of a plug-in's file, at most."""

_loaded: dict[str, str] = {}
_modules: set[str] = set()
_installed: set[str] = set()


def load(names: Iterable[str]) -> None:
    """Run files and modules that register something; a file that has not changed since is not run again.

    Args:
        names: paths that end in .py, or modules that can be imported.

    Raises:
        StudyError: one is not there, or fails as it is run.
    """
    for name in names:
        if name.endswith(".py"):
            _load_file(Path(name).expanduser())
        else:
            _run(name, partial(importlib.import_module, name))
            _modules.add(name)


def require(names: Iterable[str]) -> None:
    """Refuse to go on without plug-ins that results were made with: they are programs, and nobody has asked for them.

    A file counts as loaded if one of its name was, wherever it lies now.

    Raises:
        StudyError: one was not loaded by this process.
    """
    loaded = {Path(place).name for place in _loaded} | _modules
    for name in names:
        if (Path(name).name if name.endswith(".py") else name) not in loaded:
            raise StudyError(
                f"these results were made with the plug-in {name}, a program that is run only if you ask for it: "
                f"--plugin {name}, or open(folder, plugins=[{name!r}])"
            )


def module_of(path: Path) -> ModuleType | None:
    """The module that a plug-in's file was run as, if it was and has not changed since."""
    place = str(path.resolve())
    name = _module_name(place)
    unchanged = place in _loaded and _loaded[place] == sha256(read_bytes(path, at_most=LARGEST)).hexdigest()
    return sys.modules.get(name) if unchanged else None


def _module_name(place: str) -> str:
    return f"manifoldscope_plugin_{Path(place).stem}_{sha256(place.encode()).hexdigest()[:8]}"


def load_installed() -> None:
    """Import what installed packages name; once.

    Raises:
        StudyError: one fails as it is imported; the sentence names the package.
    """
    for point in entry_points(group=GROUP):
        if point.value not in _installed:
            _installed.add(point.value)
            owner = f" of the package {point.dist.name}" if point.dist is not None else ""
            _run(f"{point.value}{owner}", point.load)


def _load_file(path: Path) -> None:
    try:
        content = read_bytes(path, at_most=LARGEST)
    except OSError as error:
        raise StudyError(f"the plug-in {path} cannot be read: {error.strerror or error}") from None
    place = str(path.resolve())
    digest = sha256(content).hexdigest()
    if _loaded.get(place) == digest:
        return
    name = _module_name(place)
    Registry.forget(name)
    module = ModuleType(name)
    module.__file__ = place
    sys.modules[name] = module  # dataclasses look there for what a type is called
    _run(str(path), lambda: exec(compile(content, place, "exec"), module.__dict__))
    _loaded[place] = digest


def _run(what: str, work: Callable[[], object]) -> None:
    try:
        work()
    except ManifoldscopeError as error:
        raise StudyError(f"the plug-in {what} cannot be loaded: {error}") from None
    except Exception as error:  # it is somebody's program: anything may go wrong
        raise StudyError(f"the plug-in {what} cannot be loaded: {type(error).__name__}: {error}") from error
