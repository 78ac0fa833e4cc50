"""A folder of results: each unit of work is stored once, under the hash of all that changes its answer.

    DIR/manifoldscope.json, outputs.json                     that the folder is ours; what was written for people
    DIR/units/<kind>/<key>/manifest.json, payload files     a finished unit; the folder appears at once, by a rename
    DIR/failed/<key>.json                                    why a unit failed, until it succeeds
    DIR/locks/<key>                                          held while a process works on a unit
    DIR/plan.json, DIR/study.toml                            the units of the last run, and its resolved study
    DIR/unfinished/<key>/                                    what a long unit needs to go on, until it is finished
    DIR/damaged/                                             what was found changed, moved away when it was made anew

A unit is done when its manifest is whole and names it, and its payload is what the manifest says. Nothing is ever
unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import safetensors.numpy
import safetensors.torch

from manifoldscope import plugins
from manifoldscope.errors import ManifoldscopeError, StoreError, StudyError
from manifoldscope.files import file_digest, open_regular, read_bytes
from manifoldscope.stopping import deferred
from manifoldscope.study import unfinished
from manifoldscope.study.drafts import Drafts, explained, flush
from manifoldscope.study.locks import drop, held, holder, take
from manifoldscope.study.outputs import Outputs, move_aside
from manifoldscope.study.refs import names_of
from manifoldscope.study.unit import Array, Payload, Unit, key_of, unit_of

MANIFEST, CHECKPOINT = "manifest.json", "checkpoint.safetensors"
LARGEST_MANIFEST = 2**27
"""Bytes of a manifest or plan, at most: a longer one is damaged."""

FLUSHED = 0.5
"""Seconds of work from which a unit is flushed to the disk before it appears. What is quicker costs less to compute
again than many files cost to flush; cut short by a power failure, it does not match its digests, and is made anew."""

WAIT = 0.2
"""Seconds between two looks at a lock that another process holds."""


class Store:
    """The results under one folder.

    Attributes:
        folder: where they are.
        outputs: the tables, figures and report in it.
        damaged: why a unit that is there is not taken as done, by label, as far as this object has met any.

    Raises:
        StoreError: the folder cannot be made, read or written; nothing that was stored is lost.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.damaged: dict[str, str] = {}
        self._drafts = Drafts(self.folder)
        self.outputs = Outputs(self.folder, self._drafts)
        self._whole: set[str] = set()  # keys whose payload this process has checked: digests are taken once

    def prepare(self) -> None:
        """Make the folder, make sure that it is ours and can be written, and remove what killed runs left half-written.

        Raises:
            StoreError: it holds other people's files, or cannot be written.
        """
        with explained(self.folder):
            self.outputs.claim_folder()
            for name in ("units", "failed", "locks", "tables", "figures"):
                (self.folder / name).mkdir(exist_ok=True)
            self._drafts.sweep()
            unfinished.sweep(self.folder)

    def close(self) -> None:
        """This process writes no more into the folder; it may still read."""
        self._drafts.close()

    # --- finished units -------------------------------------------------------------------------------------------

    def manifest(self, unit: Unit) -> dict[str, Any] | None:
        """The manifest of a finished unit; None where it is missing or damaged (`damaged` then says why)."""
        home = self._home(unit)
        if not (home.exists() or home.is_symlink()):
            return None
        manifest, problem = read_manifest(home)
        problem = problem or misfit(manifest, unit)
        if problem is None and unit.key not in self._whole:
            problem = payload_problem(home, manifest)
        if problem is not None:
            self.damaged[unit.label] = problem
            return None
        self._whole.add(unit.key)
        return manifest

    def done(self, unit: Unit) -> bool:
        """Whether the unit is finished and whole."""
        return self.manifest(unit) is not None

    def publish(self, unit: Unit, payload: Payload, record: Mapping[str, Any]) -> None:
        """Write a unit's payload, then its manifest, and let the whole appear by one rename.

        What took `FLUSHED` seconds, as `record` has it, outlasts a power failure from then on.
        If another process has published the same unit meanwhile, its result stays; a damaged one is moved away.

        Raises:
            ManifoldscopeError: the payload lacks a file that its kind promises.
        """
        home = self._home(unit)
        self._whole.discard(unit.key)
        with explained(self.folder):
            home.parent.mkdir(parents=True, exist_ok=True)
            draft = self._drafts.beside(home)
            draft.mkdir()
            try:
                payload_digests = _write_payload(draft, payload)
                if lacking := sorted(set(unit.files) - payload_digests.keys()):
                    raise ManifoldscopeError(
                        f"the kind of unit {unit.kind!r} promises {lacking[0]} in its `files`, and its payload has "
                        f"{', '.join(payload_digests) or 'nothing'}; a table 'name' is stored as name.parquet"
                    )
                told = {
                    "kind": unit.kind,
                    "key": unit.key,
                    "names": names_of(unit),
                    "inputs": unit.inputs,
                    "needs": list(unit.needs),
                    "facts": payload.facts,
                    **record,
                    "payload": payload_digests,
                }
                manifest = json.loads(json.dumps(told))  # as it will be read: the digest is of that
                manifest["digest"] = manifest_digest(manifest)
                (draft / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                lasting = float(record.get("seconds", FLUSHED)) >= FLUSHED
                for path in (*draft.iterdir(), draft) if lasting else ():
                    flush(path)
                if not self.done(unit):
                    move_aside(self.folder, home)
                try:
                    draft.rename(home)
                    if lasting:
                        flush(home.parent)
                except OSError:
                    if not self.done(unit):
                        raise
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            (self.folder / "failed" / f"{unit.key}.json").unlink(missing_ok=True)
            unfinished.forget(self.folder, unit.key)

    def table(self, unit: Unit | str, name: str) -> pl.DataFrame:
        """A table of a finished unit, or of the one of a key."""
        home = self._home(unit) if isinstance(unit, Unit) else self._home_of(unit)
        return _read_parquet(home / f"{name}.parquet")

    def arrays(self, unit: Unit) -> dict[str, Array]:
        """The arrays of a finished unit; none where it kept none."""
        path = self._home(unit) / "arrays.safetensors"
        return dict(safetensors.numpy.load_file(path)) if path.exists() else {}

    def images(self, unit: Unit) -> Path | None:
        """The file with the attacked images of a finished unit, for `re_evaluate`; None where it kept none."""
        path = self._home(unit) / "images.safetensors"
        return path if path.exists() else None

    def unfinished(self, unit: Unit) -> Path:
        """A folder for what a claimed unit needs to go on if it is interrupted; it goes when the unit is published.

        Raises:
            StoreError: it cannot be made.
        """
        with explained(self.folder):
            return unfinished.folder_of(self.folder, unit.key)

    def checkpoint(self, key: str, name: str = CHECKPOINT) -> tuple[Path, str]:
        """A file with weights that a unit stored, and the digest that it must have.

        Raises:
            StoreError: the unit is damaged, or missing.
        """
        home = self._home_of(key)
        manifest, problem = read_manifest(home)
        digest = (manifest.get("payload") or {}).get(name)
        if problem is not None or digest is None:
            raise StoreError(f"{home} is damaged ({problem or f'it holds no {name}'}); run the study again")
        return home / name, str(digest)

    def facts(self, unit: Unit | str) -> dict[str, Any]:
        """The facts that a unit, or the unit of a key, left; none where it is not done."""
        if isinstance(unit, Unit):
            return dict((self.manifest(unit) or {}).get("facts", {}))
        manifest, problem = read_manifest(self._home_of(unit))
        return {} if problem is not None else dict(manifest.get("facts", {}))

    # --- failures and locks ---------------------------------------------------------------------------------------

    def fail(self, unit: Unit, error: str, trace: str) -> None:
        """Remember why a unit failed."""
        record = {"label": unit.label, "error": error, "trace": trace}
        with explained(self.folder), self._drafts.file(self.folder / "failed" / f"{unit.key}.json") as draft:
            draft.write_text(json.dumps(record, indent=1), encoding="utf-8")

    def failure(self, unit: Unit) -> str | None:
        """Why the unit failed when it was last tried; None where it did not."""
        try:
            record = json.loads(read_bytes(self.folder / "failed" / f"{unit.key}.json", at_most=LARGEST_MANIFEST))
            return str(record["error"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    @contextmanager
    def claim(self, unit: Unit) -> Iterator[bool]:
        """Hold the unit while working on it; False where another process holds it. A killed process lets go."""
        path = self.folder / "locks" / unit.key
        with explained(self.folder):
            lock = take(path)
        if lock is None:
            yield False
            return
        try:
            yield True
        finally:
            drop(path, lock)

    def holder(self, unit: Unit) -> str:
        """Which process holds the unit, in words."""
        return holder(self.folder / "locks" / unit.key)

    @contextmanager
    def concluding(self, say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the outputs while writing them; others wait, and say for whom.

        Raises:
            StoreError: the folder holds no results, so that nothing is written there.
        """
        if not self.outputs.marked():
            raise self._no_study()
        path = self.folder / "locks" / "conclude"
        with explained(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = take(path)
            if lock is None and say is not None:
                say(f"waiting for {holder(path)}, which writes the tables and the report")
            while lock is None:
                time.sleep(WAIT)
                lock = take(path)
        try:
            yield
        finally:
            drop(path, lock)

    def running(self, unit: Unit) -> bool:
        """Whether a process is working on the unit now."""
        return held(self.folder / "locks" / unit.key)

    # --- the plan -------------------------------------------------------------------------------------------------

    def remember(
        self, study_text: str, units: Sequence[Unit], facts: Mapping[str, Any], *, study_file: bool = True
    ) -> Path | None:
        """Write the resolved study (study.toml, for people) and the units that it asks for with it (plan.json).

        Args:
            study_file: whether to write study.toml; one that was edited here since it was written is moved away first.

        Returns:
            Where an edited study file is now; None where there was none.
        """
        plan = {
            "facts": {**facts, "study": study_text},
            "units": [{"key": unit.key, **unit.to_json()} for unit in units],
        }
        with self.concluding():
            edited = None
            files = {"plan.json": json.dumps(plan).encode()}
            if study_file:
                if self.outputs.changed("study.toml"):
                    edited = move_aside(self.folder, self.folder / "study.toml")
                files["study.toml"] = study_text.encode()
            self.outputs.write(files)
        return edited

    def plan(self) -> tuple[list[Unit], dict[str, Any]]:
        """The units of the last run, in order, and what else was remembered of it.

        Raises:
            StoreError: there was no run here, or what is remembered of it is damaged.
            StudyError: it was made with a plug-in that this process has not loaded.
        """
        path = self.folder / "plan.json"
        try:
            plan = json.loads(read_bytes(path, at_most=LARGEST_MANIFEST))
            facts = dict(plan["facts"])
            _ = facts["versions"]
            made_with = [str(name) for name in tomllib.loads(facts["study"]).get("plugins", [])]
        except (FileNotFoundError, NotADirectoryError):
            raise self._no_study() from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _damaged(path, error) from None
        plugins.require(made_with)
        try:
            units = [_planned(raw) for raw in plan["units"]]
        except _OtherVersionError as error:
            raise self._of_another_version(str(error)) from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, StudyError) as error:
            if self.outputs.changed("plan.json"):
                raise _damaged(path, error) from None
            raise self._of_another_version("its units have other fields") from None
        return units, facts

    def _of_another_version(self, how: str) -> StoreError:
        return StoreError(
            f"{self.folder} was computed by another version of manifoldscope ({how}); run the study again, which "
            "keeps what is done as it is done now"
        )

    def _no_study(self) -> StoreError:
        return StoreError(f"{self.folder} holds no study; run one first: manifoldscope run STUDY --out DIR")

    # --- tables ---------------------------------------------------------------------------------------------------

    def read_table(self, name: str) -> pl.DataFrame:
        """Read DIR/tables/<name>.parquet.

        Raises:
            StoreError: it is not there, or has changed since it was written.
        """
        return pl.read_parquet(io.BytesIO(self.outputs.read(f"tables/{name}.parquet")))

    def _home(self, unit: Unit) -> Path:
        return self.folder / "units" / unit.kind / unit.key

    def _home_of(self, key: str) -> Path:
        """The folder of the unit of a key, of whatever kind; it need not be there."""
        units = self.folder / "units"
        return next(units.glob(f"*/{key}"), units / "unknown" / key)


# --- what a unit's folder must hold ---------------------------------------------------------------------------------


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """A SHA-256 of everything in a manifest but the digest itself."""
    told = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_manifest(home: Path) -> tuple[dict[str, Any], str | None]:
    """The manifest in a unit's folder, and what is wrong with it or with its place; None where nothing is."""
    if home.is_symlink():
        return {}, "its folder is a link"
    if not home.is_dir():
        return {}, "its folder is a file"
    try:
        manifest = json.loads(read_bytes(home / MANIFEST, at_most=LARGEST_MANIFEST))
    except FileNotFoundError:
        return {}, "its manifest is missing"
    except OSError as error:
        return {}, f"its manifest cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        return {}, "its manifest is not JSON"
    if not isinstance(manifest, dict):
        return {}, "its manifest is not that of a unit"
    if manifest.get("digest") != manifest_digest(manifest):
        return manifest, "its manifest has changed since it was written"
    try:
        told = key_of(manifest["kind"], manifest["inputs"], manifest["needs"])
    except (KeyError, ValueError, TypeError):
        return manifest, "its manifest is not that of a unit"
    if not manifest["key"] == told == home.name or manifest["kind"] != home.parent.name:
        return manifest, f"its folder holds another unit ({manifest['kind']} {str(manifest['key'])[:12]})"
    payload = manifest.get("payload")
    if not isinstance(payload, dict) or any(Path(str(name)).name != name for name in payload):
        return manifest, "its manifest is not that of a unit"
    return manifest, None


def _damaged(path: Path, error: Exception) -> StoreError:
    reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
    return StoreError(f"{path} is damaged ({reason}); run the study again, which keeps what is done")


class _OtherVersionError(ValueError):
    """A unit of a plan has not the key that its fields have now."""


def _planned(raw: dict[str, Any]) -> Unit:
    """A unit of a plan. Raises _OtherVersionError where its key is not that of its fields."""
    key = raw.pop("key")
    unit = unit_of(raw)
    if unit.key != key:
        raise _OtherVersionError(f"{unit.kind} {str(key)[:12]} is computed otherwise now")
    return unit


def misfit(manifest: Mapping[str, Any], unit: Unit) -> str | None:
    """How a manifest differs from what its unit must have left; None where it does not."""
    missing = sorted(set(unit.files) - set(manifest["payload"]))
    return f"its manifest names no {missing[0]}" if missing else None


def payload_problem(home: Path, manifest: Mapping[str, Any]) -> str | None:
    """What is wrong with the payload of a unit; None where every digest is as the manifest says."""
    for name, digest in manifest["payload"].items():
        try:
            found = file_digest(home / name)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
        if found != digest:
            return f"{name} has changed since it was written"
    return None


def _write_payload(folder: Path, payload: Payload) -> dict[str, str]:
    """Write the files of a payload into a folder; their digests by name."""
    for name, table in payload.tables.items():
        with (folder / f"{name}.parquet").open("wb") as file, deferred():
            table.write_parquet(file)
    if payload.arrays:
        whole = {name: np.ascontiguousarray(array) for name, array in payload.arrays.items()}
        safetensors.numpy.save_file(whole, folder / "arrays.safetensors")
    if payload.tensors:
        safetensors.torch.save_file(payload.tensors, folder / CHECKPOINT, payload.metadata)
    for name, path in payload.files.items():
        try:
            (folder / name).hardlink_to(path)
        except OSError:  # a file system that has no such links
            shutil.copyfile(path, folder / name)
    if payload.images is not None:
        payload.images.save(folder / "images.safetensors")
    readable = folder.stat().st_mode & 0o666  # by whom the umask lets read what is made, as the folder was
    for path in folder.iterdir():
        path.chmod(readable)
    return {path.name: file_digest(path) for path in sorted(folder.iterdir())}


def _read_parquet(path: Path) -> pl.DataFrame:
    with open_regular(path) as file, deferred():  # not by its path, in which polars would look for patterns
        return pl.read_parquet(file)
