"""Run what is missing of a study, in this process."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from manifoldscope import stopping
from manifoldscope.errors import ManifoldscopeError, StoreError, StudyError
from manifoldscope.study.context import Context
from manifoldscope.study.draws import draw_images
from manifoldscope.study.forecast import forecast
from manifoldscope.study.loading import load
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import plan_units
from manifoldscope.study.progress import Progress, duration
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit, kinds
from manifoldscope.vision.memory import Memory, give_back

LIBRARIES = ("manifoldscope", "torch", "torchvision", "timm", "numpy", "scipy", "polars", "safetensors")
WAIT_FOR_OTHERS = 0.5

LARGE = 2**28
"""Bytes: after a unit that took more, what is free is given back to the system, so that gaps do not add up."""


@dataclass(frozen=True)
class Outcome:
    """What a run did: every unit of the study, how many were computed now, and why some failed (by label)."""

    units: Sequence[Unit]
    n_computed: int
    failed: dict[str, str]


def run_units(
    study: Study,
    store: Store,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    memory: int | None = None,
) -> Outcome:
    """Compute every unit of a study that the store does not hold yet.

    A unit that fails does not stop the others; what depends on it is not tried. Interrupt at any moment: finished
    units stay, and the next call goes on.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        progress: where to show how far it is; standard error by default.
        memory: bytes that the process may take; most of what is available if omitted.

    Raises:
        StudyError, DataError, ModelError: the study cannot start.
        StoreError: the folder cannot be written.
    """
    progress = progress or Progress()
    chosen = choose_device(device)
    store.prepare()
    draws = draw_images(study, store, progress)
    with progress.stage("reading other datasets"):
        others = {name: drawn for kind in kinds() for name, drawn in kind.draw(study, store, draws).items()}
    with progress.stage("planning the units"):
        units, networks = plan_units(study, draws, others)
    drawn = list({each.unit.key: each.unit for each in [*draws.values(), *others.values()]}.values())
    every = [*drawn, *units]
    with progress.stage(f"looking for the results of {len(units):,} units"):
        missing = [unit for unit in units if not store.done(unit)]
    context = Context(study, store, draws, networks, chosen, others, Memory(memory))
    expected = forecast(context, missing, progress) if missing else None
    _remember(store, study, every, {"versions": versions(chosen), "networks": list(networks)}, progress)
    for label, problem in store.damaged.items():
        progress.say(f"damaged: {label}: {problem}; it is computed anew, and what was there is kept in damaged/")
    if expected is None:
        progress.say(f"nothing to compute: all {len(every)} units are done")
        return Outcome(every, 0, {})
    progress.say(expected.text(missing) + f"; on {describe_device(chosen)}")
    for draw in drawn:
        if n_bad := len(store.table(draw, "skipped_images")):
            progress.say(f"{n_bad} images could not be read and were skipped ({draw.role}); the report names them")
    progress.start((unit.group, expected.seconds[unit.key]) for unit in missing)
    failed: dict[str, str] = {}
    failed_keys: set[str] = set()
    n_computed = 0
    waiting = list(missing)
    told: set[str] = set()  # the units that somebody else holds, and that were named
    began = time.monotonic()
    try:
        while waiting:
            held_by_others: list[Unit] = []
            open_keys: set[str] = set()
            for unit in waiting:
                stopping.obey()
                before = {*unit.needs, *unit.after}
                if before & failed_keys:
                    failed_keys.add(unit.key)  # named by the failure that it waits for
                    continue
                if before & open_keys:
                    held_by_others.append(unit)
                    open_keys.add(unit.key)
                    continue
                with store.claim(unit) as mine:
                    if not mine:
                        held_by_others.append(unit)
                        open_keys.add(unit.key)
                        continue
                    progress.begin(unit.label, unit.group, expected.seconds[unit.key])
                    if store.done(unit):
                        progress.end(computed=False)
                        continue
                    error = _compute(unit, context, progress)
                    if expected.memory[unit.key] > expected.before + LARGE:
                        give_back()
                    progress.end()
                if error is None:
                    n_computed += 1
                else:
                    failed[unit.label] = error
                    failed_keys.add(unit.key)
                    progress.say(f"failed: {unit.label}: {error}")
            if len(held_by_others) == len(waiting):
                blocking = next((unit for unit in waiting if store.running(unit)), None)
                if blocking is not None and blocking.key not in told:
                    told.add(blocking.key)
                    progress.say(f"waiting for {store.holder(blocking)}, which computes {blocking.label}")
                time.sleep(WAIT_FOR_OTHERS)
            waiting = held_by_others
    finally:
        progress.close()
    give_back()  # what follows draws figures
    progress.say(f"{n_computed} units computed in {duration(time.monotonic() - began)}")
    return Outcome(every, n_computed, failed)


def _remember(store: Store, study: Study, units: Sequence[Unit], facts: Mapping[str, Any], progress: Progress) -> None:
    """Write what is run; a study file that was edited in the folder stays where it says the same."""
    text, edited = study.text(), None
    if store.outputs.changed("study.toml"):
        try:
            edited = load(store.folder / "study.toml").text()
        except StudyError:
            edited = None
    kept = store.remember(text, units, facts, study_file=edited != text)
    if kept is not None:
        progress.say(f"study.toml was edited since it was written, and is another study: it is kept as {kept}")


def _compute(unit: Unit, context: Context, progress: Progress) -> str | None:
    """Do one unit and store it; the reason where it fails."""
    began = time.time()
    clock = time.monotonic()
    try:
        payload = unit.compute(context, progress.tick)
        record = {
            "started": began,
            "seconds": time.monotonic() - clock,
            "seed": context.study.seed,
            "versions": versions(context.device),
        }
        context.store.publish(unit, payload, record)
    except StoreError:
        raise
    except BaseException as error:  # a unit may fail in any library; the others go on
        stopping.obey()
        if not isinstance(error, Exception):
            raise
        known = isinstance(error, ManifoldscopeError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        context.store.fail(unit, reason, traceback.format_exc())
        return reason
    return None


def choose_device(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one. Raises StudyError for a device that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")  # mps has no float64 and is taken only when it is asked for
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(f"device {name!r} is not available here ({reason}); use --device cpu or auto") from None
    return device


def describe_device(device: torch.device) -> str:
    """The device, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def versions(device: torch.device) -> dict[str, Any]:
    """What the results were made with."""
    found: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    found["device"] = describe_device(device)
    found["threads"] = torch.get_num_threads()
    found["cores"] = os.cpu_count()
    return found
