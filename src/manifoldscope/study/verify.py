"""Verify: look at everything in a folder of results, say what is wrong and what rests on it, and change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifoldscope.errors import StoreError
from manifoldscope.study.drafts import is_draft
from manifoldscope.study.outputs import MARK
from manifoldscope.study.store import MANIFEST, Store, misfit, payload_problem, read_manifest
from manifoldscope.study.unit import Unit


@dataclass(frozen=True)
class Problem:
    """Something in a folder of results that is not as it was written.

    Attributes:
        path: where, below the folder.
        label: which unit of work that is; empty for an output, or a unit that nothing names any more.
        reason: what is wrong.
        dependents: the finished units whose results rest on it, by label or by kind and key.
    """

    path: str
    label: str
    reason: str
    dependents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verification:
    """What a folder of results holds.

    Attributes:
        n_whole: finished units whose manifest and payload are as they were written.
        n_missing: units of the last run that are not there.
        problems: what is damaged.
        leftovers: drafts of runs that were killed or are still writing; the next run removes those of the former.
        strangers: files among the units that no manifest names; they are left alone.
        unfinished: outputs are being written, or were when a run was stopped; the next run writes them.
    """

    n_whole: int
    n_missing: int
    problems: tuple[Problem, ...]
    leftovers: tuple[str, ...]
    strangers: tuple[str, ...]
    unfinished: bool


def verify(folder: str | Path) -> Verification:
    """Check every manifest, payload and output of a folder of results against what was written.

    Raises:
        StoreError: the folder holds no results.
    """
    store = Store(folder)
    if not store.outputs.marked():
        raise StoreError(f"{store.folder} holds no results of manifoldscope (there is no {MARK})")
    planned, problems = _planned(store)
    manifests: dict[str, Mapping[str, Any]] = {}
    damaged: dict[str, tuple[Path, str]] = {}
    leftovers: list[Path] = [entry for entry in _entries(store.folder) if is_draft(entry)]
    strangers: list[Path] = []
    for kind in _entries(store.folder / "units"):
        if not kind.is_dir():
            strangers.append(kind)
            continue
        for home in _entries(kind):
            if is_draft(home):
                leftovers.append(home)
                continue
            manifest, reason = read_manifest(home)
            if reason is None and home.name in planned:
                reason = misfit(manifest, planned[home.name])
            reason = reason or payload_problem(home, manifest)
            manifests[home.name] = manifest
            if reason is not None:
                damaged[home.name] = (home, reason)
            elif home.is_dir():
                strangers += [entry for entry in _entries(home) if entry.name not in {MANIFEST, *manifest["payload"]}]
    needs = {key: set(manifest.get("needs") or ()) for key, manifest in manifests.items() if key not in damaged}
    for key, (home, reason) in damaged.items():
        dependents = [_label(other, planned, manifests) for other in _resting_on(key, needs)]
        problems.append(
            Problem(_below(store, home), _label(key, planned, manifests), reason, tuple(sorted(dependents)))
        )
    problems += [Problem(name, "", reason) for name, reason in sorted(store.outputs.problems().items())]
    return Verification(
        n_whole=len(manifests) - len(damaged),
        n_missing=len(planned.keys() - manifests.keys()),
        problems=tuple(problems),
        leftovers=tuple(_below(store, path) for path in leftovers),
        strangers=tuple(_below(store, path) for path in strangers),
        unfinished=store.outputs.unfinished(),
    )


def _planned(store: Store) -> tuple[dict[str, Unit], list[Problem]]:
    """The units of the last run by key; and what is wrong with the plan."""
    try:
        units, _ = store.plan()
    except StoreError as error:
        return {}, [] if not (store.folder / "plan.json").exists() else [Problem("plan.json", "", str(error))]
    return {unit.key: unit for unit in units}, []


def _resting_on(key: str, needs: Mapping[str, set[str]]) -> set[str]:
    """The keys of all units that need a unit, and of those that need them."""
    found: set[str] = set()
    waiting = [key]
    while waiting:
        at = waiting.pop()
        more = {other for other, needed in needs.items() if at in needed} - found
        found |= more
        waiting += more
    return found


def _label(key: str, planned: Mapping[str, Unit], manifests: Mapping[str, Mapping[str, Any]]) -> str:
    if key in planned:
        return planned[key].label
    kind = manifests.get(key, {}).get("kind")
    return f"{kind} {key[:12]}" if kind else ""


def _below(store: Store, path: Path) -> str:
    return path.relative_to(store.folder).as_posix()


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
