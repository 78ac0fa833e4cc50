"""Under which names of a file the tensors of a module stand, whatever wrappers put before or between them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

DEPTH = 4
"""How many names wrappers may put before those of a network."""

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What DataParallel, AveragedModel, torch.compile and others put into names, before them or in between."""

_OWN_WRAPPERS = ("model.", "net.", "network.")

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""torchvision's DenseNet files were saved when modules could still be called "norm.1"; they are "norm1" now."""

BESIDE = frozenset({"n_averaged", "pos_weight", "criterion", "loss", "loss_fn", "loss_function"})
"""What stands beside the tensors of a network, where these have no prefix."""

_LIKELY = 20
"""How many prefixes are looked at closely, those of most names first."""

_AVERAGES = re.compile(r"ema|averag|swa|teacher|target|momentum|shadow")


def plain_names(named: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the names of wrappers, in the same order; as it is where two names would become one."""
    plain = {
        _OLD_DENSENET.sub(r"\1\2", ".".join(part for part in name.split(".") if part not in _WRAPPERS)): value
        for name, value in named.items()
    }
    return plain if len(plain) == len(named) else dict(named)


def shared_wrapper(own: Iterable[str]) -> str | None:
    """The prefix by which a module of one child knows all its tensors."""
    names = list(own)
    return next((w for w in _OWN_WRAPPERS if names and all(name.startswith(w) for name in names)), None)


def best_prefix(own: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The prefix under which most names of the module stand, and those under which other networks fit as well."""
    found: Counter[str] = Counter()
    for name in given:
        rest, prefix = name, ""
        for _ in range(DEPTH + 1):
            found[prefix] += rest in own
            head, dot, rest = rest.partition(".")
            prefix += head + dot
            if not dot:
                break
    ranked = sorted(found, key=lambda prefix: (-found[prefix], len(prefix), prefix))
    most = found[ranked[0]] if ranked else 0
    complete = [
        prefix
        for prefix in ranked[:_LIKELY]
        if not missing_names(own, given, prefix) and not misfits(own, given, prefix)
    ]
    if "" in complete:
        return "", []
    themselves = [prefix for prefix in complete if not _AVERAGES.search(prefix)] or complete
    if not themselves:
        return ranked[0] if most else "", []
    first = min(themselves, key=len)
    differing = [prefix for prefix in themselves if not _same(own, given, first, prefix)]
    return first, [first, *differing] if differing else []


def _same(own: Mapping[str, Any], given: Mapping[str, Any], one: str, other: str) -> bool:
    return all(
        torch.equal(given[one + name], given[other + name])
        for name in own
        if isinstance(given.get(one + name), Tensor) and isinstance(given.get(other + name), Tensor)
    )


def missing_names(own: Mapping[str, Any], given: Mapping[str, Any], prefix: str) -> list[str]:
    """Tensors of the module that are not given, neither under their own name nor under that of one they are tied to."""
    there = {place(value) for name, value in own.items() if prefix + name in given}
    return [
        name
        for name, value in own.items()
        if prefix + name not in given
        and not name.endswith("num_batches_tracked")
        and (place(value) is None or place(value) not in there)
    ]


def place(value: Any) -> tuple[Any, ...] | None:
    """Where a tensor lies in memory; tied ones lie in the same place. None where that says nothing."""
    if not isinstance(value, Tensor) or is_lazy(value) or not value.numel() or value.is_meta:
        return None
    return (value.device, value.data_ptr(), value.shape, value.stride())


def misfits(own: Mapping[str, Any], given: Mapping[str, Any], prefix: str) -> list[str]:
    """Tensors of another shape."""
    return [
        name
        for name, value in own.items()
        if isinstance(value, Tensor)
        and not is_lazy(value)
        and isinstance(found := given.get(prefix + name), Tensor)
        and found.shape != value.shape
    ]


def tied(own: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of names of one tensor."""
    first: dict[Any, str] = {}
    return [
        (first[where], name)
        for name, value in own.items()
        if (where := place(value)) is not None and first.setdefault(where, name) != name
    ]
