"""A folder of results: each unit of work is stored once, under the hash of all that changes its answer.

    DIR/units/<kind>/<key>/manifest.json, payload files     a finished unit; the folder appears at once, by a rename
    DIR/failed/<key>.json                                    why a unit failed, until it succeeds
    DIR/locks/<key>                                          held while a process works on a unit
    DIR/plan.json, DIR/study.toml                            the units of the last run, and its resolved study

A unit is done when its manifest is there and the digests of its payload match. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import safetensors.numpy
import safetensors.torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor

from manifoldscope.errors import StoreError
from manifoldscope.robustness.kept import Kept

Array = npt.NDArray[Any]

FORGOTTEN = 24 * 3600.0
"""Seconds after which an unfinished attempt is taken to have no owner any more."""


@dataclass(frozen=True)
class Unit:
    """One piece of work, by name: small to send, run anywhere, stored once.

    Attributes:
        kind: which function does it.
        inputs: everything that changes its answer, as JSON values: parameters, digests, versions.
        needs: keys of the units whose results it reads; they are part of its key.
        after: keys of the units that must have succeeded first, but whose results it does not read.
        names: what people and tables call its parts (model, class, threat); not part of its key.
        n_images: how many images it passes through the network.
        passes: (forward, gradient) passes of each: what a forecast needs.
    """

    kind: str
    inputs: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    names: Mapping[str, Any] = field(default_factory=dict)
    n_images: int = 0
    passes: tuple[float, float] = (0.0, 0.0)

    @property
    def key(self) -> str:
        """SHA-256 of kind, inputs and needs, as canonical JSON."""
        return hashlib.sha256(canonical([self.kind, self.inputs, self.needs]).encode()).hexdigest()

    @property
    def label(self) -> str:
        """What people call it: "natural · class 3 · pgd 0.1 · attack"."""
        names = self.names
        parts = [names.get("model") or names.get("role")]
        if "class_name" in names:
            parts.append(f"class {names['class_name']}")
        if "layer" in names:
            parts.append(f"{names['layer']}")
        if "dataset" in names:
            parts.append(f"{names['dataset']}")
        if "threat" in names:
            parts.append(f"{names['threat']} {names['strength']:g}")
        return " · ".join([*map(str, filter(None, parts)), self.kind])


@dataclass
class Payload:
    """What a unit found: tables, arrays, attacked images, and a few facts for its manifest."""

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    images: Kept | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Store:
    """The results under one folder.

    Raises:
        StoreError: the folder cannot be made, read or written; nothing that was stored is lost.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._whole: set[str] = set()  # keys whose payload this process has checked: digests are taken once

    def prepare(self) -> None:
        """Make the folder, and make sure that it can be written."""
        with _explained(self.folder):
            for name in ("units", "failed", "locks", "tables", "figures"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
            for attempt in self.folder.glob("units/*/.attempt-*"):  # left by a run that was killed
                if time.time() - attempt.stat().st_mtime > FORGOTTEN:
                    shutil.rmtree(attempt, ignore_errors=True)

    # --- finished units -------------------------------------------------------------------------------------------

    def manifest(self, unit: Unit) -> dict[str, Any] | None:
        """The manifest of a finished unit; None where it is missing, or its payload does not match."""
        folder, key = self._home(unit), unit.key
        try:
            manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if key not in self._whole and any(_digest(folder / n) != d for n, d in manifest["payload"].items()):
                return None
        except (OSError, ValueError, KeyError):
            return None
        self._whole.add(key)
        return manifest

    def done(self, unit: Unit) -> bool:
        """Whether the unit is finished and whole."""
        return self.manifest(unit) is not None

    def publish(self, unit: Unit, payload: Payload, record: Mapping[str, Any]) -> None:
        """Write a unit's payload, then its manifest, and let the whole appear by one rename.

        If another process has published the same unit meanwhile, its result stays.
        """
        home = self._home(unit)
        self._whole.discard(unit.key)
        with _explained(self.folder):
            home.parent.mkdir(parents=True, exist_ok=True)
            attempt = Path(tempfile.mkdtemp(prefix=".attempt-", dir=home.parent))
            try:
                for name, table in payload.tables.items():
                    table.write_parquet(attempt / f"{name}.parquet")
                if payload.arrays:
                    whole = {name: np.ascontiguousarray(array) for name, array in payload.arrays.items()}
                    safetensors.numpy.save_file(whole, attempt / "arrays.safetensors")
                if payload.tensors:
                    safetensors.torch.save_file(payload.tensors, attempt / "checkpoint.safetensors")
                if payload.images is not None:
                    payload.images.save(attempt / "images.safetensors")
                manifest = {
                    "kind": unit.kind,
                    "key": unit.key,
                    "names": dict(unit.names),
                    "inputs": dict(unit.inputs),
                    "needs": list(unit.needs),
                    "facts": payload.facts,
                    **record,
                    "payload": {path.name: _digest(path) for path in sorted(attempt.iterdir())},
                }
                for path in attempt.iterdir():
                    _flush(path)
                write_text(attempt / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
                if home.exists() and not self.done(unit):
                    shutil.rmtree(home)  # damaged: made anew
                try:
                    attempt.rename(home)
                    _flush(home.parent)
                except OSError:
                    if not self.done(unit):
                        raise
            finally:
                shutil.rmtree(attempt, ignore_errors=True)
            (self.folder / "failed" / f"{unit.key}.json").unlink(missing_ok=True)

    def table(self, unit: Unit, name: str) -> pl.DataFrame:
        """A table of a finished unit."""
        return pl.read_parquet(self._home(unit) / f"{name}.parquet")

    def arrays(self, unit: Unit) -> dict[str, Array]:
        """The arrays of a finished unit; none where it kept none."""
        path = self._home(unit) / "arrays.safetensors"
        return dict(safetensors.numpy.load_file(path)) if path.exists() else {}

    def images(self, unit: Unit) -> Path | None:
        """The file with the attacked images of a finished unit, for `rejudge`; None where it kept none."""
        path = self._home(unit) / "images.safetensors"
        return path if path.exists() else None

    def checkpoint(self, key: str) -> Path:
        """The file with the weights that a training unit stored."""
        return self.folder / "units" / "train" / key / "checkpoint.safetensors"

    def verdicts(self, key: str) -> pl.DataFrame:
        """The verdicts that an attack unit stored."""
        return pl.read_parquet(self.folder / "units" / "attack" / key / "verdicts.parquet")

    # --- failures and locks ---------------------------------------------------------------------------------------

    def fail(self, unit: Unit, error: str, trace: str) -> None:
        """Remember why a unit failed."""
        record = {"label": unit.label, "error": error, "trace": trace}
        with _explained(self.folder):
            write_text(self.folder / "failed" / f"{unit.key}.json", json.dumps(record, indent=1, ensure_ascii=False))

    def failure(self, unit: Unit) -> str | None:
        """Why the unit failed when it was last tried; None where it did not."""
        try:
            text = (self.folder / "failed" / f"{unit.key}.json").read_text(encoding="utf-8")
            return str(json.loads(text)["error"])
        except (OSError, ValueError, KeyError):
            return None

    @contextmanager
    def claim(self, unit: Unit) -> Iterator[bool]:
        """Hold the unit while working on it; False where another process holds it. A killed process lets go."""
        path = self.folder / "locks" / unit.key
        lock = FileLock(path)
        with _explained(self.folder):
            try:
                lock.acquire(timeout=0)
            except Timeout:  # an OSError itself, but no failure
                held = True
            else:
                held = False
        if held:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
            lock.release()

    @contextmanager
    def concluding(self) -> Iterator[None]:
        """Hold the tables and the report while writing them; others wait."""
        with _explained(self.folder):
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "locks" / "conclude"):
                yield

    def running(self, unit: Unit) -> bool:
        """Whether a process is working on the unit now."""
        path = self.folder / "locks" / unit.key
        if not path.exists():
            return False
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    # --- the plan -------------------------------------------------------------------------------------------------

    def remember(self, study_text: str, units: Sequence[Unit], facts: Mapping[str, Any]) -> None:
        """Write the resolved study (study.toml, for people) and the units that it asks for with it (plan.json)."""
        with _explained(self.folder):
            write_text(self.folder / "study.toml", study_text)
            plan = {"facts": {**facts, "study": study_text}, "units": [asdict(unit) for unit in units]}
            write_text(self.folder / "plan.json", json.dumps(plan, ensure_ascii=False))

    def plan(self) -> tuple[list[Unit], dict[str, Any]]:
        """The units of the last run, in order, and what else was remembered of it.

        Raises:
            StoreError: there was no run here.
        """
        try:
            plan = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(
                f"{self.folder} holds no study; run one first: manifoldscope run STUDY --out DIR"
            ) from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder / 'plan.json'} cannot be read ({error}); run the study again") from None
        units = [
            Unit(**{**unit, **{name: tuple(unit[name]) for name in ("needs", "after", "passes")}})
            for unit in plan["units"]
        ]
        return units, plan["facts"]

    # --- tables ---------------------------------------------------------------------------------------------------

    def write_table(self, name: str, table: pl.DataFrame) -> None:
        """Write DIR/tables/<name>.parquet by atomic rename."""
        path = self.folder / "tables" / f"{name}.parquet"
        with _explained(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _beside(path) as draft:
                table.write_parquet(draft)

    def read_table(self, name: str) -> pl.DataFrame:
        """Read DIR/tables/<name>.parquet."""
        path = self.folder / "tables" / f"{name}.parquet"
        if not path.exists():
            raise StoreError(
                f"{path} is not there yet; run the study, or rebuild its tables with `manifoldscope report`"
            )
        return pl.read_parquet(path)

    def _home(self, unit: Unit) -> Path:
        return self.folder / "units" / unit.kind / unit.key


def write_text(path: Path, text: str) -> None:
    """Write a text file by atomic rename, flushed to the disk before it appears."""
    with _beside(path) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        _flush(draft)
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, pl.exceptions.PolarsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StoreError(
            f"cannot write to {folder}: {reason}; choose another folder with --out, or make room or give permission "
            "(what is already stored is kept)"
        ) from error


def _flush(path: Path) -> None:
    """Bring a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
