"""What can be listed, read from the files of a room without importing them: importing a room imports torch.

An item is what `registry.Entry` would say of it. A default is a literal, or the name of one; names, those of base
classes too, are looked up in the file itself and in what it takes `from ... import`. Anything else is an
`OutlineError`: the caller then imports the room.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GROUP = "manifoldscope"
"""The group of entry points by which installed packages name what they register."""

SOURCE = Path(__file__).parents[1]
"""The folder that holds the package."""

REGISTERING = ("register", "of_spectrum", "of_cloud", "of_clouds")
"""Methods of registries that register what they decorate."""

MAKERS = {"corruption": ("CORRUPTIONS", "manifoldscope.attacks.corruptions.corruption", "Corruption")}
"""Decorators that register a function as a class: in which registry, and the class whose fields are its settings."""

WITHOUT_FIELDS = {"ABC", "Protocol"}
"""Base classes of the standard library, which add no settings."""


class OutlineError(Exception):
    """The files are not there, or say it in a way that only an import understands."""


@dataclass(frozen=True)
class Item:
    """One registered item; `settings` has the default of each setting, and `...` where there is none.

    `origin` is the file that it stands in, where that is not the package's.
    """

    name: str
    settings: Mapping[str, Any]
    summary: str
    origin: str = ""


def outline(module: str, registry: str) -> list[Item]:
    """What the registry called `registry` in `module` holds: the items of the files beside it and below, by name.

    Raises:
        OutlineError: the room has to be imported.

    Example:
        >>> "standard" in {item.name for item in outline("manifoldscope.training.objectives", "OBJECTIVES")}
        True
    """
    paths = sorted(_path(module).parent.rglob("*.py"))
    items = [item for path in paths for node in _statements(path) for item in _items(node, path, registry)]
    if not items:
        raise OutlineError(f"no files of {module} register anything in {registry}")
    return sorted(items, key=lambda item: item.name)


def any_installed() -> bool:
    """Whether an installed package registers something: it has to be imported to be listed."""
    from importlib.metadata import entry_points  # not above: it takes longer than all else that `--help` needs

    return bool(entry_points(group=GROUP))


def questions() -> list[tuple[str, str]]:
    """The built-in studies, and what each asks. Raises OutlineError where the files cannot be read."""
    folder = SOURCE / "manifoldscope" / "study" / "presets"
    try:
        texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.toml")}
        found = [(name, tomllib.loads(text).get("question", "")) for name, text in sorted(texts.items())]
    except (OSError, ValueError) as error:
        raise OutlineError(str(error)) from None
    if not found:
        raise OutlineError(f"there are no studies in {folder}")
    return found


def _path(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _statements(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError) as error:
        raise OutlineError(f"{path}: {error}") from None


def _items(node: ast.stmt, path: Path, registry: str) -> Iterator[Item]:
    """The item that a statement registers, if any."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return
    summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=method), args=[name]):
                if owner == registry and method in REGISTERING:
                    settings = _fields(node, path) if isinstance(node, ast.ClassDef) else _parameters(node, path)
                    yield Item(_value(name, path), settings, summary)
            case ast.Call(func=ast.Name(id=maker)) if maker in MAKERS:
                owner, module, base = MAKERS[maker]
                if owner == registry:
                    yield Item(node.name, _fields(*_definition(base, _path(module))), summary)


def _parameters(function: ast.FunctionDef, path: Path) -> dict[str, Any]:
    """The keyword-only parameters of a function."""
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {parameter.arg: ... if default is None else _value(default, path) for parameter, default in pairs}


def _fields(node: ast.AST, path: Path) -> dict[str, Any]:
    """The fields of a keyword-only dataclass in the order of its parameters: those of its bases come first."""
    if not isinstance(node, ast.ClassDef):
        raise OutlineError(f"{path}: expected a class, not {ast.unparse(node)}")
    fields: dict[str, Any] = {}
    for base in reversed(node.bases):
        if not isinstance(base, ast.Name):
            raise OutlineError(f"{path}: {ast.unparse(base)} is not a name")
        if base.id not in WITHOUT_FIELDS:
            fields |= _fields(*_definition(base.id, path))
    if not any(ast.unparse(decorator).startswith("dataclass(") for decorator in node.decorator_list):
        return fields
    for line in node.body:
        match line:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=default):
                if not ast.unparse(annotation).startswith("ClassVar"):
                    fields[name] = fields.get(name, ...) if default is None else _value(default, path)
    return fields


def _value(node: ast.AST, path: Path) -> Any:
    if isinstance(node, ast.Name):
        return _value(*_definition(node.id, path))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise OutlineError(f"{path}: {ast.unparse(node)} is not a literal") from None


def _definition(name: str, path: Path) -> tuple[ast.AST, Path]:
    """The class or the value that a file calls `name`, and the file that defines it."""
    for node in _statements(path):
        match node:
            case ast.ClassDef(name=found) if found == name:
                return node, path
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return value, path
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                return value, path
            case ast.ImportFrom(module=str(module), names=aliases):
                for alias in aliases:
                    if (alias.asname or alias.name) == name:
                        return _definition(alias.name, _path(module))
    raise OutlineError(f"{path} does not define {name}")
