"""Code of the user's own, named `path/to/file.py:function` or `package.module:function`, that makes a network or a
dataset.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from manifoldscope import plugins
from manifoldscope.errors import ManifoldscopeError, ModelError, unknown
from manifoldscope.registry import Registry
from manifoldscope.vision.weights import file_digest


def made_by(
    name: str,
    *,
    kind: type[ManifoldscopeError],
    settings: Mapping[str, object] | None = None,
    during: AbstractContextManager[None] | None = None,
) -> tuple[Any, str, Path | None]:
    """What the function `name` gives; how it is called in messages; and its file, where it was named by one.

    Args:
        kind: of the error.
        settings: arguments that it is called with.
        during: in which context it is imported and called.

    Raises:
        ManifoldscopeError: of that kind; no such file, module or function, or one that fails.
    """
    where, _, function = name.rpartition(":")
    if not where or not function:
        raise kind(f"python:{name}: expected python:package.module:function or python:path/to/file.py:function")
    file = Path(where).expanduser() if where.endswith(".py") else None
    shown = f"python:{file.name if file else where}:{function}"
    with _import_path(file.parent if file else Path()), during or nullcontext():
        module = _imported(where, file, shown, kind)
        return _called(module, function, shown, kind, settings or {}), shown, file


@contextmanager
def _import_path(folder: Path) -> Iterator[None]:
    """The user's folder is importable inside, so that a file finds its neighbours; what it imported is forgotten after.

    Two folders may both have a `blocks.py`: each network gets its own.
    """
    entry = str(folder.resolve())
    before = set(sys.modules)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
        for name in set(sys.modules) - before:
            origin = Path(getattr(sys.modules[name], "__file__", None) or "/")
            if folder.resolve() in origin.parents and "site-packages" not in origin.parts:
                del sys.modules[name]


def code_digest(name: str) -> str:
    """A SHA-256 of the code that `python:NAME` runs: its file, and every Python file in the same folder.

    Code that it imports from elsewhere is not in it.

    Raises:
        ModelError: no such file or module.
    """
    where = name.rpartition(":")[0]
    shown = f"python:{name}"
    if where.endswith(".py"):
        file = Path(where).expanduser()
    else:
        with _import_path(Path()):
            try:
                found = importlib.util.find_spec(where)
            except (ImportError, ValueError) as error:
                raise ModelError(f"{shown} cannot be imported ({brief(error)})") from error
        if found is None or found.origin is None:
            raise ModelError(f"{shown} cannot be imported: there is no module {where!r}")
        file = Path(found.origin)
    if not file.is_file():
        raise ModelError(f"{shown}: there is no file {str(file)!r}")
    neighbours = sorted({file, *file.parent.glob("*.py")})
    digests = [f"{path.name} {file_digest(path)}" for path in neighbours]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _imported(where: str, file: Path | None, shown: str, kind: type[ManifoldscopeError]) -> Any:
    if file is not None and not file.is_file():
        raise kind(f"{shown}: there is no file {str(file)!r}")
    try:
        if file is None:
            return importlib.import_module(where)
        if (loaded := plugins.module_of(file)) is not None:
            return loaded
        place = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
        specification = importlib.util.spec_from_file_location(f"_user_{file.stem}_{place}", file)
        assert specification is not None
        assert specification.loader is not None
        Registry.forget(specification.name)  # it may be run anew for each network and dataset
        module = importlib.util.module_from_spec(specification)
        sys.modules[specification.name] = module  # dataclasses and pickling look themselves up there
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise kind(f"{shown} cannot be imported ({type(error).__name__}: {brief(error)})") from error
    return module


def _called(
    module: Any, function: str, shown: str, kind: type[ManifoldscopeError], settings: Mapping[str, object]
) -> Any:
    if not hasattr(module, function):
        public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise kind(f"{shown}: {unknown('function', function, public)}")
    made = getattr(module, function)
    if not callable(made) or isinstance(made, nn.Module):
        raise kind(f"{shown} is {type(made).__name__}; expected a function: write one that returns it, and name that")
    try:
        inspect.signature(made).bind(**settings)
    except TypeError as error:
        given = f"with {', '.join(settings)}" if settings else "without arguments"
        raise kind(
            f"{shown} is called {given}, which it does not allow ({error}); name a function that does, and calls it"
        ) from None
    except ValueError:
        pass  # what is compiled may not say what it takes
    try:
        return made(**settings)
    except ManifoldscopeError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise kind(f"{shown} failed ({type(error).__name__}: {brief(error)})") from error


def brief(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
