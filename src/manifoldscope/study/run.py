"""Run what is missing of a study, in this process."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from manifoldscope import stopping
from manifoldscope.errors import ManifoldscopeError, StoreError, StudyError
from manifoldscope.study.context import Context
from manifoldscope.study.draws import draw_images, too_few
from manifoldscope.study.forecast import forecast
from manifoldscope.study.loading import load
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import plan_units
from manifoldscope.study.progress import Progress, duration
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit, kinds
from manifoldscope.vision.memory import Memory, give_back
from manifoldscope.vision.shown import counted

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
    units stay, and the next call goes on. Units of one kind that can be are computed together.

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
            were = "image could not be read and was" if n_bad == 1 else "images could not be read and were"
            progress.say(f"{n_bad} {were} skipped ({draw.role}); `manifoldscope status` names them")
    for said in too_few(study, draws):
        progress.say(said)
    progress.start((unit.group, expected.seconds[unit.key]) for unit in missing)
    failed: dict[str, str] = {}
    failed_keys: set[str] = set()
    n_computed = 0
    waiting = list(missing)
    settled: set[str] = set()  # what was computed here, or found done
    told: set[str] = set()  # the units that somebody else holds, and that were named
    began = time.monotonic()
    try:
        while waiting:
            held_by_others: list[Unit] = []
            open_keys: set[str] = set()
            for place, unit in enumerate(waiting):
                stopping.obey()
                if unit.key in settled:
                    continue
                before = {*unit.needs, *unit.after}
                if before & failed_keys:
                    failed_keys.add(unit.key)  # named by the failure that it waits for
                    continue
                if before & open_keys:
                    held_by_others.append(unit)
                    open_keys.add(unit.key)
                    continue
                pending = {each.key for each in waiting} - settled
                beside = _together(unit, waiting[place + 1 :], pending, expected.seconds)
                with ExitStack() as claims:
                    asked: list[Unit] = [unit, *beside]
                    mine = [each for each in asked if claims.enter_context(store.claim(each))]
                    if unit not in mine:
                        held_by_others.append(unit)
                        open_keys.add(unit.key)
                        continue
                    seconds = sum(expected.seconds[each.key] for each in mine)
                    progress.begin(_label(mine), unit.group, seconds, len(mine))
                    settled.update(each.key for each in mine)
                    left = [each for each in mine if not store.done(each)]
                    errors = _compute(left, context, progress) if left else {}
                    if any(expected.memory[each.key] > expected.before + LARGE for each in left):
                        give_back()
                    progress.end(computed=bool(left))
                n_computed += len(left) - len(errors)
                for each in left:
                    if each.key in errors:
                        failed[each.label] = errors[each.key]
                        failed_keys.add(each.key)
                        progress.say(f"failed: {each.label}: {errors[each.key]}")
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
    progress.say(f"{counted(n_computed, 'unit')} computed in {duration(time.monotonic() - began)}")
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


def _together(unit: Unit, later: Sequence[Unit], pending: set[str], seconds: Mapping[str, float]) -> list[Unit]:
    """What is computed with a unit: those after it that can be now, until there is about a minute of work."""
    chosen: list[Unit] = []
    so_far = seconds[unit.key]
    for each in later if unit.together else ():
        if each.together != unit.together or each.key not in pending or pending & {*each.needs, *each.after}:
            continue
        so_far += seconds[each.key]
        if so_far > unit.at_a_time:
            break
        chosen.append(each)
    return chosen


def _label(units: Sequence[Unit]) -> str:
    """What people call several units."""
    return units[0].label if len(units) == 1 else f"{units[0].label}, and {len(units) - 1} like it"


def _compute(units: Sequence[Unit], context: Context, progress: Progress) -> dict[str, str]:
    """Do units and store them; the reason where one fails, by its key."""
    began = time.time()
    clock = time.monotonic()
    try:
        payloads = type(units[0]).compute_together(units, context, progress.tick)
        record = {
            "started": began,
            "seconds": (time.monotonic() - clock) / len(units),
            "together": len(units),
            "seed": context.study.seed,
            "versions": versions(context.device),
        }
        for unit, payload in zip(units, payloads, strict=True):
            context.store.publish(unit, payload, record)
    except StoreError:
        raise
    except BaseException as error:  # a unit may fail in any library; the others go on
        stopping.obey()
        if not isinstance(error, Exception):
            raise
        if len(units) > 1:  # not all of them need have failed
            reasons = [_compute([unit], context, progress) for unit in units]
            return {key: reason for each in reasons for key, reason in each.items()}
        known = isinstance(error, ManifoldscopeError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        context.store.fail(units[0], reason, traceback.format_exc())
        return {units[0].key: reason}
    return {}


def choose_device(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one. Raises StudyError for a device that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")  # mps has no float64 and is taken only when it is asked for
    try:
        device = torch.device(name)
    except RuntimeError:
        raise StudyError(f"there is no kind of device {name!r}; use --device cpu or auto, or cuda or mps") from None
    try:
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


@cache
def _library_versions() -> dict[str, str]:
    """Of what is installed when the process first asks: finding them takes some hundredths of a second."""
    found: dict[str, str] = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def versions(device: torch.device) -> dict[str, Any]:
    """What the results were made with."""
    found: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    found |= _library_versions()
    found["device"] = describe_device(device)
    found["threads"] = torch.get_num_threads()
    found["cores"] = os.cpu_count()
    return found
