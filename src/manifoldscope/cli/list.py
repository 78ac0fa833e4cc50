"""List what can be named in a study file, and what results hold."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

from manifoldscope.cli.printing import say, wrapped
from manifoldscope.errors import StudyError
from manifoldscope.outline import Item, OutlineError, any_installed, outline, questions

if TYPE_CHECKING:
    from manifoldscope.registry import Entry

REGISTRIES = {
    "datasets": ("manifoldscope.vision.datasets", "DATASETS"),
    "models": ("manifoldscope.vision.sources", "SOURCES"),
    "small networks": ("manifoldscope.vision.small", "SMALL"),
    "measures": ("manifoldscope.geometry.measures", "MEASURES"),
    "attacks": ("manifoldscope.attacks.perturbation", "ATTACKS"),
    "corruptions": ("manifoldscope.attacks.perturbation", "CORRUPTIONS"),
    "defences": ("manifoldscope.vision.defences", "DEFENCES"),
    "objectives": ("manifoldscope.training.objectives", "OBJECTIVES"),
    "figures": ("manifoldscope.report.figure", "FIGURES"),
    "views": ("manifoldscope.report.explore.view", "VIEWS"),
    "findings": ("manifoldscope.report.findings.finding", "FINDINGS"),
}
"""The registry of each kind: the module that defines it, and its name there."""

LISTED = ("studies", *(name for name in REGISTRIES if name != "small networks"), "kinds", "tables", "layers")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("kind", choices=LISTED)
    parser.add_argument("--model", help="with layers: the network, for example torchvision:resnet50")
    parser.add_argument("--size", type=int, default=None, help="with layers: side of the input image")


def execute(options: argparse.Namespace) -> int:
    """Print a line for each, and what it is."""
    if options.kind == "layers":
        return _list_layers(options)
    if options.model is not None or options.size is not None:
        raise StudyError(f"--model and --size go with layers, and not with {options.kind}: manifoldscope list layers")
    found = OTHERS[options.kind]() if options.kind in OTHERS else _items(options.kind, bool(options.plugins))
    for name, about in found:
        say(f"{name}\n{wrapped(about)}")
    return 0


def _studies() -> list[tuple[str, str]]:
    try:
        return questions()
    except OutlineError:
        from manifoldscope.study.loading import load, preset_names

        return [(name, load(name).question) for name in preset_names()]


def _kinds() -> list[tuple[str, str]]:
    """Each kind of unit, with the tables that it is the first to fill."""
    from manifoldscope.study.unit import KINDS, kinds

    filled = {kind.kind: ", ".join(schema.name for schema in kind.tables) for kind in kinds()}
    tables = {name: f"\n\nTables: {filled[name]}." if filled[name] else "" for name in filled}
    return [(entry.name + _origin(entry), entry.summary + tables[entry.name]) for entry in KINDS]


def _tables() -> list[tuple[str, str]]:
    """Each table with its columns; those that identify a row have a star."""
    from manifoldscope.tables import TABLES

    found = []
    for name, schema in TABLES.items():
        columns = ", ".join(f"{column}*" if column in schema.identity else column for column in schema.columns)
        found.append((name, f"{schema.row[:1].upper()}{schema.row[1:]}.\n\n{columns}"))
    return found


def _items(kind: str, with_plugins: bool) -> list[tuple[str, str]]:
    """Name, settings and origin of each item, and what it is."""
    found = [(item.name, item) for item in _registered(kind, with_plugins)]
    if kind == "models":
        small = _registered("small networks", with_plugins)
        found += [(f"small:{item.name}", item) for item in small]
    return [(name + _signature(item) + _origin(item), item.summary) for name, item in found]


def _registered(kind: str, with_plugins: bool) -> list[Item]:
    """The items of a registry, read from its files if they can be: to import them takes seconds."""
    try:
        if not with_plugins and not any_installed():
            return outline(*REGISTRIES[kind])
    except OutlineError:
        pass
    return _imported(kind)


def _imported(kind: str) -> list[Item]:
    module, name = REGISTRIES[kind]
    return [
        Item(
            entry.name,
            {key: ... if info.is_required() else info.default for key, info in entry.settings.model_fields.items()},
            entry.summary,
            entry.origin,
        )
        for entry in getattr(import_module(module), name)
    ]


def _signature(item: Item) -> str:
    settings = [name if default is ... else f"{name}={default!r}" for name, default in item.settings.items()]
    return f" ({', '.join(settings)})" if settings else ""


def _origin(item: Item | Entry) -> str:
    return f" from {item.origin}" if item.origin else ""


OTHERS = {"studies": _studies, "kinds": _kinds, "tables": _tables}
"""What is listed, but stands in no registry of items with settings."""


def _list_layers(options: argparse.Namespace) -> int:
    """The layers of a network in the order of execution: what each gives, and how it is measured if "all" are."""
    import torch

    from manifoldscope.vision.depth import places
    from manifoldscope.vision.sources import network

    if not options.model:
        raise StudyError("list layers needs a network: --model torchvision:resnet50")
    spec = options.model if ":" in options.model else f"torchvision:{options.model}"
    shape = {"channels": 3, "size": options.size or 32, "n_classes": 10} if spec.startswith("small:") else {}
    made = network(spec, **shape)
    side = options.size or made.preprocessing.crop or 224
    pixels = torch.rand(2, *made.shape(side), generator=torch.Generator().manual_seed(0))
    for place in places(made, pixels):
        features = f"{place.n_features:,} features" if place.n_features else ""
        all_ = f"not in all: {place.left_out}" if place.left_out else f"{features} {place.pool}".rstrip()
        say(f"{place.name:<40} {place.type:<24} {' x '.join(map(str, place.shape)):<16} {all_}".rstrip())
    return 0
