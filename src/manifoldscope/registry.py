"""How a measure, attack, dataset, network source or objective is registered and found.

Each kind has one `Registry`, in the room that owns it. An item is registered where it is defined, by a decorator; its
keyword-only parameters (or, for a dataclass, its fields) *are* its configuration: the study file, the list commands
and the docs read names, types, defaults and help from them. On first look-up the registry imports every module of its
package, so that a new file is found without being named anywhere.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from manifoldscope.errors import ManifoldscopeError, StudyError, shortened, unknown

Item = TypeVar("Item", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One registered item.

    Attributes:
        kind: what such items are called, for example "measure".
        name: under which it is found.
        target: the function or class itself.
        traits: what else was said of it.
        origin: the file that it stands in, or its module, where that is not the package's.
        code: a digest of that file; empty where it is the package's.
    """

    kind: str
    name: str
    target: Callable[..., Any]
    traits: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    code: str = ""

    @property
    def version(self) -> int | str:
        """What stands in keys for its code: the number in its traits, and for a plug-in a digest of its file."""
        own: int = self.traits.get("version", 1)
        return f"{own} {self.code}" if self.code else own

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return (inspect.getdoc(self.target) or "").split("\n\n")[0].replace("\n", " ")

    @contextmanager
    def named(self, kind: type[ManifoldscopeError] = ManifoldscopeError) -> Iterator[None]:
        """Around what somebody else's item does: an error of it becomes one of that kind that names item and line."""
        try:
            yield
        except ManifoldscopeError:
            raise
        except Exception as error:  # it is somebody's program: anything may go wrong
            if not self.origin:
                raise
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == self.origin]
            where = self.origin + (f", line {lines[-1]}" if lines else "")
            raise kind(f"the {self.kind} {self.name!r} ({where}) failed: {type(error).__name__}: {error}") from error

    @cached_property
    def settings(self) -> type[BaseModel]:
        """The keyword-only parameters as a typed model: what a study file may say about this item."""
        hints = get_type_hints(self.target.__init__ if inspect.isclass(self.target) else self.target)
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(self.target).parameters.values():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                default = ... if parameter.default is inspect.Parameter.empty else parameter.default
                if parameter.name not in hints:
                    raise StudyError(f"the {self.kind} {self.name!r} gives its setting {parameter.name!r} no type")
                fields[parameter.name] = (hints[parameter.name], default)
        config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # strict: true is no number
        return create_model(self.name, __config__=config, **fields)

    def validate(self, settings: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
        """All settings of the item, defaults filled in and types checked.

        Raises StudyError naming the key (prefixed by `where`), the value, what was expected and the nearest name.
        """
        prefix = f"{where}." if where else ""
        try:
            return dict(self.settings(**settings))
        except ValidationError as error:
            raise StudyError(describe(error, prefix, self.settings)) from None


def describe(error: ValidationError, prefix: str, model: type[BaseModel]) -> str:
    """A pydantic error in our words: the key, the value, what was expected, and the nearest valid name."""
    errors = error.errors()  # a key that nobody knows explains a key that is missing
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    path = shortened(".".join(map(str, first["loc"])))
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        return f"{prefix}{path}: {unknown('setting', name, _names_at(model, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{prefix}{path} is missing: {_purpose(model, first['loc']) or 'it has no default'}"
    message = shortened(str(first["msg"]).removeprefix("Value error, "), 1000)
    if _is_union(model, first["loc"][:-1]):  # one error for each of its types, which stand last in their paths
        each = [str(found["msg"]) for found in errors if found["loc"][:-1] == first["loc"][:-1]]
        message = " or ".join([message, *(one.removeprefix("Input should be ") for one in each[1:])])
        path = shortened(".".join(map(str, first["loc"][:-1])))
    if first["type"] == "value_error" and isinstance(first["input"], (dict, list, BaseModel)):
        return f"{prefix}{path}: {message}".removeprefix(": ")  # the whole table would drown the sentence
    return f"{prefix}{path} = {shortened(repr(first['input']))}: {message[:1].lower()}{message[1:]}"


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int) or current is None:
            continue
        field_info = current.model_fields.get(step)
        if field_info is None:
            continue
        current = next(
            (a for a in _leaves(field_info.annotation) if inspect.isclass(a) and issubclass(a, BaseModel)), None
        )
    return current


def _is_union(model: type[BaseModel], path: tuple[int | str, ...]) -> bool:
    """Whether the field at a path takes values of several types."""
    owner = _model_at(model, path[:-1]) if path else None
    info = owner.model_fields.get(str(path[-1])) if owner else None
    if info is None or get_origin(info.annotation) not in (Union, UnionType):
        return False
    return len(set(get_args(info.annotation)) - {NoneType}) > 1  # of one type or None an error is the one of that type


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


def _names_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    at = _model_at(model, path)
    return list(at.model_fields) if at else []


def _purpose(model: type[BaseModel], path: tuple[int | str, ...]) -> str | None:
    at = _model_at(model, path[:-1])
    info = at.model_fields.get(str(path[-1])) if at else None
    return info.description if info else None


def _outside(module: str | None) -> tuple[str, str]:
    """Where a module outside the package stands, and a digest of it: of a notebook's, of nothing but its name."""
    module = module or "__main__"
    if module.split(".")[0] == __name__.split(".")[0]:
        return "", ""
    path = getattr(sys.modules.get(module), "__file__", None)
    content = Path(path).read_bytes() if path is not None else module.encode()
    return path or module, hashlib.sha256(content).hexdigest()


class Registry:
    """The items of one kind, by name.

    Args:
        kind: what one item is called in messages, for example "measure".
        package: the package whose modules define the items; imported on first look-up.
    """

    _all: ClassVar[list[Registry]] = []

    def __init__(self, kind: str, package: str) -> None:
        self._all.append(self)
        self.kind = kind
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._complete = False

    def register(self, name: str, **traits: Any) -> Callable[[Item], Item]:
        """Decorator that registers a function or class under `name`; `traits` say what else is known of it."""

        def add(target: Item) -> Item:
            if name in self._entries:
                raise ManifoldscopeError(f"the {self.kind} {name!r} is registered twice; give one another name")
            if inspect.isabstract(target):
                lacking = ", ".join(sorted(getattr(target, "__abstractmethods__", ())))
                raise ManifoldscopeError(f"the {self.kind} {name!r} lacks {lacking}; its class has to define them")
            self._entries[name] = Entry(self.kind, name, target, traits, *_outside(target.__module__))
            return target

        return add

    @classmethod
    def forget(cls, module: str) -> None:
        """Drop what a module has registered, wherever that is."""
        for registry in cls._all:
            for entry in list(registry._entries.values()):
                if entry.target.__module__ == module:
                    del registry._entries[entry.name]

    def _discover(self) -> None:
        if not self._complete:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._complete = True
            importlib.import_module("manifoldscope.plugins").load_installed()

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            self._discover()
        if name not in self._entries:
            raise StudyError(unknown(self.kind, name, self._entries))
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        self._discover()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return [entry.name for entry in self]
