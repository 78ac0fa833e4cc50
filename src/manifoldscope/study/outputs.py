"""Outputs: what is written for people into a folder of results, and how it is told from what belongs to others.

    DIR/manifoldscope.json   the mark: this folder is ours to write into
    DIR/outputs.json         every output that was written here, with its digest

A folder that is not empty and bears no mark is refused. In one that does, only what `outputs.json` names is ever
replaced or removed. While a file is being replaced, the record holds the digest before and the one to come, so that a
run that is killed meanwhile leaves nothing that looks changed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from manifoldscope.errors import StoreError
from manifoldscope.files import read_bytes
from manifoldscope.study.drafts import Drafts, explained, is_draft

MARK = "manifoldscope.json"
RECORD = "outputs.json"
FORMAT = 1
"""Of the folder; raise it when older software can no longer read what newer software writes."""

PLACES = ("tables", "figures", "report.html", "plan.json", "study.toml")
"""Where outputs lie."""

CHANGED = "it has changed since it was written"

THEN = ">"
"""Between the digest of a file that is being replaced (empty where there is none) and that of what replaces it."""


class Outputs:
    """The study file, tables, figures and report in a folder of results.

    Whoever writes holds the folder's lock (`Store.concluding`), so that two processes do not write the record at once.
    """

    def __init__(self, folder: Path, drafts: Drafts) -> None:
        self._folder, self._drafts = folder, drafts

    # --- the mark -------------------------------------------------------------------------------------------------

    def claim_folder(self) -> None:
        """Make sure that the folder is there and ours: new, empty, or marked by an earlier run.

        Raises:
            StoreError: it holds other people's files, or results in a format that is not known.
            OSError: it cannot be made or written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.marked():
            here = sorted(
                entry.name for entry in self._folder.iterdir() if not is_draft(entry) and entry.name != "locks"
            )
            if here and not self.marked():  # another process may have begun meanwhile
                raise StoreError(
                    f"{self._folder} holds files that are not results of manifoldscope ({_listed(here)}), and nothing "
                    "is written among them; give a new or an empty folder with --out"
                )
            with self._drafts.file(self._folder / MARK) as draft:
                draft.write_text(json.dumps({"manifoldscope": "results", "format": FORMAT}), encoding="utf-8")
            if not (self._folder / RECORD).exists():
                self._remember({})

    def marked(self) -> bool:
        """Whether the folder bears our mark.

        Raises:
            StoreError: the mark is of a format that is not known, or damaged.
        """
        path = self._folder / MARK
        try:
            mark = json.loads(read_bytes(path, at_most=2**16))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError, RecursionError):
            mark = None
        if not isinstance(mark, dict) or mark.get("manifoldscope") != "results":
            raise StoreError(
                f"{path} is damaged, so that {self._folder} cannot be told from a folder of somebody else; if it "
                f'holds results, write {{"manifoldscope": "results", "format": {FORMAT}}} into that file'
            )
        if mark.get("format") != FORMAT:
            raise StoreError(
                f"{self._folder} holds results in format {mark.get('format')!r}, and this version reads {FORMAT}; use "
                "the version of manifoldscope that wrote them, or another --out"
            )
        return True

    # --- what was written -----------------------------------------------------------------------------------------

    def record(self) -> dict[str, str] | None:
        """Digests of the outputs that were written here, by path below the folder; None where it is damaged or lost."""
        try:
            record = json.loads(read_bytes(self._folder / RECORD, at_most=2**26))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(record, dict) or not all(isinstance(digest, str) for digest in record.values()):
            return None
        return {name: digest for name, digest in record.items() if _inside(name)}

    def refuse_strangers(self, names: Collection[str]) -> None:
        """Raise StoreError where one of these outputs would replace a file that was not written here."""
        record = self.record()
        for name in names:
            path = self._folder / name
            if record is not None and name not in record and (path.exists() or path.is_symlink()):
                raise StoreError(
                    f"{path} is in the way: it was not written by manifoldscope, and is not replaced; move it away, or "
                    "choose another folder with --out"
                )

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files, by path relative to the folder, each by an atomic rename.

        Raises:
            StoreError: a file that was not written here is in the way, and nothing is written then; or the disk is
                full, or the folder cannot be written.
        """
        self.refuse_strangers(files)
        with explained(self._folder):
            self._write(files)

    def _write(self, files: Mapping[str, bytes]) -> None:
        record = self.record()
        if record is None:  # nobody can tell what was written here: what is in the way, now or later, is kept
            for name in [RECORD, *PLACES, *files]:
                move_aside(self._folder, self._folder / name)
            record = {}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        coming = {name: f"{record.get(name, '')}{THEN}{digest}" for name, digest in digests.items()}
        self._remember({**record, **coming})  # ours from the first byte on
        for name, content in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._drafts.file(path) as draft:
                draft.write_bytes(content)
        self._remember({**record, **digests})

    def remove(self, names: Collection[str]) -> None:
        """Remove outputs that were written here; other names are left alone."""
        record = self.record() or {}
        ours = {name for name in names if name in record}
        with explained(self._folder):
            if ours:
                self._remember({**record, **{name: f"{THEN}{record[name]}" for name in ours}})
            for name in ours:
                (self._folder / name).unlink(missing_ok=True)
            if ours:
                self._remember({name: digest for name, digest in record.items() if name not in ours})

    def problems(self) -> dict[str, str]:
        """What is wrong with the outputs that were written here, by name; empty where all are as they were written."""
        record = self.record()
        if record is None:
            return {RECORD: "it is damaged or lost"}
        return {name: reason for name, digest in record.items() if (reason := self._problem(name, digest)) is not None}

    def unfinished(self) -> bool:
        """Whether outputs are being written, or were when a process ended: some may be older than others."""
        return any(THEN in digest for digest in (self.record() or {}).values())

    def names(self, start: str) -> list[str]:
        """The outputs that were written here whose path begins so."""
        return [name for name in self.record() or {} if name.startswith(start)]

    def changed(self, name: str) -> bool:
        """Whether a file stands where this output was written, and is another."""
        digest = (self.record() or {}).get(name)
        return digest is not None and self._problem(name, digest) == CHANGED

    def _problem(self, name: str, digest: str) -> str | None:
        try:
            found = hashlib.sha256(read_bytes(self._folder / name)).hexdigest()
        except FileNotFoundError:
            return None if digest.startswith(THEN) else "it is missing"
        except OSError as error:
            return str(error.strerror or error).lower()
        return None if found in digest.split(THEN) else CHANGED

    def read(self, name: str) -> bytes:
        """An output, as it was written.

        Raises:
            StoreError: it is not there, or has changed since it was written.
        """
        path = self._folder / name
        again = f"run the study, or rebuild its outputs: manifoldscope report {self._folder}"
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            raise StoreError(f"{path} is not there yet; {again}") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}; {again}") from None
        digest = (self.record() or {}).get(name, "")
        if THEN in digest:
            raise StoreError(f"{path} was being replaced when a run was stopped, or still is; {again}")
        if digest != hashlib.sha256(content).hexdigest():
            raise StoreError(f"{path} has changed since it was written, and is not believed; {again}")
        return content

    def _remember(self, record: Mapping[str, str]) -> None:
        with self._drafts.file(self._folder / RECORD) as draft:
            draft.write_text(json.dumps(record, indent=0, sort_keys=True), encoding="utf-8")


def move_aside(folder: Path, path: Path) -> Path | None:
    """Move what lies at a path into `folder`/damaged, under a name of its own; None where nothing lies there.

    Nothing is ever deleted that might be somebody's.
    """
    if not (path.exists() or path.is_symlink()):
        return None
    place = folder / "damaged"
    place.mkdir(exist_ok=True)
    for number in itertools.count(1):
        kept = place / f"{path.name}-{number}"
        if not (kept.exists() or kept.is_symlink()):
            path.rename(kept)
            return kept
    raise AssertionError("numbers do not end")


def _inside(name: Any) -> bool:
    """Whether a recorded name lies in the folder; a record that was edited might lead elsewhere."""
    parts = Path(str(name)).parts
    return isinstance(name, str) and bool(parts) and not Path(name).is_absolute() and ".." not in parts


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
