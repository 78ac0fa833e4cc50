"""The few calls that join rooms: run a study, read its tables, write its report."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from manifoldscope.errors import StoreError, StudyError
from manifoldscope.evidence import Finding, association_table, diagnose
from manifoldscope.pictures import Picture
from manifoldscope.report import FIGURES, Figure, draw, render
from manifoldscope.study.memory import bytes_of
from manifoldscope.study.plan import Study, load, parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.study.run import run_units
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit, canonical
from manifoldscope.tables import TABLES

MADE_FROM = "tables/made-from.json"
"""Of which units, under which names, the tables and the report were made."""

LONGEST_NAME = 100
"""Bytes of the name of a study that is to name a folder."""

TABLES_VERSION = 5
"""Raise it when tables, associations or the report come to be made in another way from the same units."""


@dataclass(frozen=True)
class Result:
    """A study's results, in their folder.

    Attributes:
        folder: where they are.
        failed: why units failed, by label; empty where everything was computed.
        n_computed: how many units this run computed.
    """

    folder: Path
    failed: Mapping[str, str] = field(default_factory=dict)
    n_computed: int = 0

    def table(self, name: str) -> pl.DataFrame:
        """A table by name, such as geometry, robustness or verdicts; `tables.TABLES` lists them.

        Raises:
            StoreError: the table is not there.
        """
        return Store(self.folder).read_table(name)

    def draw(self, figure: str) -> list[Figure]:
        """The figures of one name, such as "transfer", as the report has them: charts, captions and their tables.

        Raises:
            StudyError: there is no figure of this name.
        """
        store = Store(self.folder)
        units, facts = store.plan()
        return draw(
            figure,
            {name: self.table(name) for name in TABLES},
            pictures=pictures(store, filter(store.done, units)),
            study=tomllib.loads(facts["study"]),
        )

    @property
    def findings(self) -> list[Finding]:
        """The answer in words, the weightiest first."""
        return diagnose({name: self.table(name) for name in TABLES})

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder / "report.html"


def run(
    study: str | Path | Study,
    *,
    out: str | Path | None = None,
    changes: Mapping[str, Any] | Iterable[str] = (),
    device: str = "auto",
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run what is missing of a study, and write its tables, figures and report.

    Args:
        study: a built-in name ("digits"), a TOML file, or a Study.
        out: the folder of the results; runs/<name of the study> by default.
        changes: settings by dotted key, as `--set` takes them: {"data.geometry.images_per_class": 50}.
        device: "auto", "cpu", "cuda" or "mps".
        memory: how much the process may take, as "4GiB", "500MB" or a number of bytes; most of what is available if
            omitted. It changes no result but by rounding.

    Returns:
        The results. Units that failed are named in `failed`; the report is written from what was computed.

    Raises:
        ManifoldscopeError: the study cannot start, or the folder cannot be written.
    """
    plan = _changed(study, changes) if isinstance(study, Study) else load(study, changes)
    limit = None if memory is None else bytes_of(memory)
    folder = Path(out) if out is not None else Path("runs") / _folder_name(plan.name)
    _keep_apart(folder, plan)
    store = Store(folder)
    progress = progress or Progress()
    try:
        outcome = run_units(plan, store, device=device, progress=progress, memory=limit)
        conclude(store, progress=progress)
    finally:
        store.close()
    return Result(folder, outcome.failed, outcome.n_computed)


def _folder_name(name: str) -> str:
    """The name of a study as that of a folder. It says what results are called, and may not say where they lie.

    Raises:
        StudyError: it is no plain name.
    """
    plain = name.isprintable() and not set(name) & set('/\\:*?"<>|') and not name.startswith((".", "-", "~", " "))
    if not plain or not name or len(name.encode()) > LONGEST_NAME or name != name.strip(" ."):
        raise StudyError(f"name = {name!r} is no name for a folder; give another, or say where with --out DIR")
    return name


def _keep_apart(folder: Path, study: Study) -> None:
    """Refuse results among the data of a study, and data among its results.

    Raises:
        StudyError: one of them lies in the other.
    """
    out = folder.resolve()
    for root in filter(None, [study.data.root, *(foreign.root for foreign in study.foreign)]):
        data = Path(root).expanduser().resolve()
        if out == data or data in out.parents or out in data.parents:
            raise StudyError(
                f"of the results {str(folder)!r} and the data {root!r} one lies in the other; give another folder with "
                "--out"
            )


def conclude(store: Store, *, progress: Progress | None = None, anew: bool = False) -> Path:
    """Tables, evidence and the report, from the store alone; left as they are where nothing has changed.

    Args:
        anew: make them even if nothing has changed.
    """
    with store.concluding(progress.say if progress is not None else None):
        return _conclude(store, progress, anew)


def _conclude(store: Store, progress: Progress | None, anew: bool) -> Path:
    units, facts = store.plan()
    text = facts["study"]
    done = [unit for unit in units if store.done(unit)]
    keys = {unit.key for unit in done}
    failed = [f"{unit.label}: {error}" for unit in units if unit.key not in keys and (error := store.failure(unit))]
    made_by = [TABLES_VERSION, facts["versions"]["manifoldscope"], FIGURES.names()]
    state = [*made_by, text, failed, [[u.key, u.names] for u in done]]
    fingerprint = hashlib.sha256(canonical(state).encode()).hexdigest()
    page = store.folder / "report.html"
    if not anew and _made_from(store) == fingerprint and not store.outputs.problems():
        return page
    if progress is not None:
        progress.say("writing tables, figures and the report")
    study = parse(tomllib.loads(text))
    tables = collect(store, done)
    tables["associations"] = association_table(
        tables["geometry"],
        tables["robustness"],
        tables["models"],
        methods=tuple(study.associations.methods),
        bootstrap=study.associations.bootstrap,
        permutations=study.associations.permutations,
        seed=study.seed,
    )
    files = {f"tables/{name}.parquet": _parquet(table) for name, table in tables.items()}
    files |= render(
        study=study.model_dump(mode="json", exclude_none=True),
        study_text=text,
        tables=tables,
        findings=diagnose(tables),
        pictures=pictures(store, done),
        rerun=shlex.join(["manifoldscope", "run", str(store.folder / "study.toml"), "--out", str(store.folder)]),
        versions={name: str(value) for name, value in facts["versions"].items()},
        failed=failed,
    )
    store.outputs.remove([MADE_FROM])
    store.outputs.write(files)
    store.outputs.remove([name for name in store.outputs.names("figures/") if name not in files])
    store.outputs.write({MADE_FROM: json.dumps({"fingerprint": fingerprint}).encode()})
    return page


def _made_from(store: Store) -> str:
    """From what the outputs were made; empty where that is not known."""
    try:
        return str(json.loads(store.outputs.read(MADE_FROM))["fingerprint"])
    except (StoreError, ValueError, KeyError, TypeError):
        return ""


def _parquet(table: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    table.write_parquet(content)
    return content.getvalue()


def _changed(study: Study, changes: Mapping[str, Any] | Iterable[str]) -> Study:
    if list(changes):
        raise StudyError("changes go with a study's name or file; change a Study before it is made, or load() it")
    return study


def pictures(store: Store, units: Iterable[Unit]) -> list[Picture]:
    """What the units keep for figures: spectra, correlations of features, example images."""
    found = []
    for unit in units:
        if unit.kind not in ("geometry", "attack"):
            continue
        manifest = store.manifest(unit)
        arrays = store.arrays(unit)
        if manifest is None or not arrays:
            continue
        facts = manifest["facts"]
        names = {key: unit.names[key] for key in ("model", "class_name")}
        if unit.kind == "attack":
            names |= {key: unit.names[key] for key in ("threat", "strength")}
            images = {key: arrays[key] for key in ("original", "adversarial")}
            found.append(Picture("example", names | facts["example"], images))
            continue
        names["class_index"] = unit.names["class_index"]
        for array_name, array in arrays.items():
            kind, rest = array_name.split("/", 1)
            if kind == "spectrum":
                layer, scaling = rest.rsplit("/", 1)
                if scaling == "none" or f"spectrum/{layer}/none" not in arrays:
                    shape = dict(zip(("n_points", "n_features"), facts["shapes"][layer], strict=True))
                    called = layer if scaling == "none" else f"{layer} ({scaling})"
                    found.append(Picture("spectrum", names | shape | {"layer": called}, {"variances": array}))
            elif (numbers := facts["correlations"].get(rest)) is not None:
                found.append(Picture("correlation", names | numbers | {"layer": rest}, {"matrix": array}))
    return found


@dataclass(frozen=True)
class Status:
    """How far a study is: labels of units by state."""

    done: list[str]
    running: list[str]
    failed: dict[str, str]
    missing: list[str]
    set_aside: pl.DataFrame


def status(folder: str | Path) -> Status:
    """What is done, running, failed and missing in a folder of results."""
    store = Store(folder)
    units, _ = store.plan()
    done: list[str] = []
    running: list[str] = []
    missing: list[str] = []
    failed: dict[str, str] = {}
    bad = []
    for unit in units:
        if store.done(unit):
            done.append(unit.label)
            if unit.kind == "draw":
                bad.append(store.table(unit, "set_aside"))
        elif store.running(unit):
            running.append(unit.label)
        elif (error := store.failure(unit)) is not None:
            failed[unit.label] = error
        else:
            missing.append(unit.label)
    aside = pl.concat(bad).unique().sort("image") if bad else pl.DataFrame()
    return Status(done, running, failed, missing, aside)
