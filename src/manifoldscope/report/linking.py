"""Plain ES modules become one script that a page carries: no bundler, and nothing is loaded.

Each module becomes a function that returns what it exports, in the order in which they need each other. A module names
what it takes in lines such as `import { a, b } from "./x.js";`, and what it gives by `export function`, `export const`,
`export class` and `export async function` at the start of a line; other forms are refused. A module that lies outside
the package takes from it by `import { h } from "manifoldscope/dom.js";`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from manifoldscope.errors import ManifoldscopeError

_IMPORT = re.compile(r'^import \{ ([^}]+) \} from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|class) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*(?://.*|/\*\*.*\*/)$|^\s*/\*\*\n(?:\s*\*.*\n)*?\s*\*/$", re.MULTILINE)


def linked(main: Path, views: Mapping[str, Path]) -> str:
    """One script: the modules that `main` and the views need, and a call of `main` with the views by name.

    Args:
        main: a module that exports `main`.
        views: modules that export `view`, by name.

    Raises:
        ManifoldscopeError: a module that is not there, that needs itself, or that takes or gives something in a form
            that is not understood.
    """
    order: dict[Path, str] = {}
    library = main.resolve().parent
    for path in (*views.values(), main):
        _visit(path.resolve(), library, order, ())
    names = {path: f"m{place}" for place, path in enumerate(order)}
    parts = [_function(path, library, text, names) for path, text in order.items()]
    table = ", ".join(f"{_quoted(name)}: {names[path.resolve()]}.view" for name, path in views.items())
    call = f"{names[main.resolve()]}.main({{ __proto__: null, {table} }});"
    return "\n".join(['"use strict";', *parts, call, ""])


def _visit(path: Path, library: Path, order: dict[Path, str], above: tuple[Path, ...]) -> None:
    """Add a module after those that it needs."""
    if path in order:
        return
    if path in above:
        raise ManifoldscopeError(f"the script {path.name} needs itself, by way of {above[-1].name}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        needed = f", which {above[-1].name} needs," if above else ""
        raise ManifoldscopeError(f"the script {path.name}{needed} cannot be read: {error.strerror}") from error
    for _, name in _IMPORT.findall(text):
        _visit(_named(name, path, library), library, order, (*above, path))
    order[path] = text


def _named(name: str, path: Path, library: Path) -> Path:
    """The module that another one names: beside it, or one of the package where the name starts with its name."""
    own = name.removeprefix("manifoldscope/")
    return (library / own if own != name else path.parent / name).resolve()


def _function(path: Path, library: Path, text: str, names: Mapping[Path, str]) -> str:
    exported = _EXPORT.findall(text)

    def taken(match: re.Match[str]) -> str:
        parts = [part.strip().replace(" as ", ": ") for part in match[1].split(",") if part.strip()]
        return f"const {{ {', '.join(parts)} }} = {names[_named(match[2], path, library)]};"

    body = _EXPORT.sub("", _IMPORT.sub(taken, _COMMENT.sub("", text)))
    if wrong := _OTHER.search(body):
        allowed = '`import { a } from "./x.js";` and `export function a`'
        raise ManifoldscopeError(f"{path.name}: write {allowed}, not: {wrong[0]}")
    code = "\n".join(line.rstrip() for line in body.splitlines() if line.strip())
    return f"const {names[path]} = (() => {{\n{code}\nreturn {{ {', '.join(exported)} }};\n}})();"


def _quoted(name: str) -> str:
    if not re.fullmatch(r"\w+", name):
        raise ManifoldscopeError(f"the view {name!r} needs a name of letters, digits and underscores")
    return f'"{name}"'
