"""The few calls that join rooms: run a study, read its tables, write its report."""

from __future__ import annotations

import hashlib
import json
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from manifoldscope.errors import StoreError, StudyError, unknown
from manifoldscope.evidence import associate_frame
from manifoldscope.evidence.concluded import concluded
from manifoldscope.files import file_digest
from manifoldscope.plugins import load as load_plugins
from manifoldscope.recordings import join_outcome
from manifoldscope.recordings.outcomes import outcome_column
from manifoldscope.report import FIGURES, FINDINGS, Figure, Finding, diagnose, draw, notebook, render
from manifoldscope.report.explore import VIEWS
from manifoldscope.report.explore.view import scripts
from manifoldscope.report.story import Story, story
from manifoldscope.study.cost import bytes_of
from manifoldscope.study.loading import load, parse
from manifoldscope.study.plan import Study
from manifoldscope.study.progress import Progress
from manifoldscope.study.refs import names_of
from manifoldscope.study.results import collect, pictures
from manifoldscope.study.run import run_units
from manifoldscope.study.store import Store
from manifoldscope.study.unit import KINDS, Unit, canonical, kinds
from manifoldscope.tables import TABLES, conform, parquet

MADE_FROM = "tables/made-from.json"
"""Of which units, under which names, the tables and the report were made."""

LONGEST_NAME = 100
"""Bytes of the name of a study that is to name a folder."""

_X = "the measure"
"""What the measured values are called beside the columns of an outcome."""

TABLES_VERSION = 14
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
        """A table by name, such as geometry, robustness or outcomes; `tables.TABLES` lists them.

        Raises:
            StudyError: there is no table of this name.
            StoreError: the table is not there yet.
        """
        if name not in TABLES:
            raise StudyError(unknown("table", name, TABLES))
        return _table(Store(self.folder), name)

    def draw(self, figure: str) -> list[Figure]:
        """The figures of one name, such as "transfer", as the report has them: charts, captions and their tables.

        Raises:
            StudyError: there is no figure of this name.
        """
        return draw(figure, **self._drawn_from)

    @cached_property
    def _drawn_from(self) -> dict[str, Any]:
        """What figures are drawn from, which takes longer to read than most of them to draw."""
        store = Store(self.folder)
        units, facts = store.plan()
        return {
            "tables": {name: self.table(name) for name in TABLES},
            "pictures": list(pictures(store, units)),
            "study": tomllib.loads(facts["study"]),
        }

    @property
    def findings(self) -> list[Finding]:
        """The answer in words, the weightiest first."""
        found: list[Finding] = self._told_from()["findings"]
        return found

    @property
    def story(self) -> Story:
        """What was asked, the answer, how sure it is, and what would change it."""
        return story(**self._told_from())

    def _told_from(self) -> dict[str, Any]:
        """What the answer is told from, as it now stands in the folder."""
        store = Store(self.folder)
        units, facts = store.plan()
        _, failed, n_missing = _states(store, units)
        asked = tomllib.loads(facts["study"])
        tables = {name: _table(store, name) for name in TABLES}
        findings = diagnose(tables, asked=parse(asked, run_plugins=False).asked_tables)
        return {
            "study": asked,
            "tables": tables,
            "findings": findings,
            "n_failed": len(failed),
            "n_missing": n_missing,
        }

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder / "report.html"

    @property
    def status(self) -> Status:
        """What is done, running, failed and missing."""
        return status(self.folder)

    def __repr__(self) -> str:
        counted = {"computed": self.n_computed, "failed": len(self.failed)}
        told = [f", {n} {'unit' if n == 1 else 'units'} {state}" for state, n in counted.items() if n]
        return f"Result({str(self.folder)!r}{''.join(told)})"

    def _repr_html_(self) -> str:
        """The answer in a notebook: the question, what was found and how surely, and the central figure."""
        try:
            told_from = self._told_from()
        except StoreError as error:  # the folder was moved, or its tables are not written yet
            return f"<p><code>{escape(repr(self))}</code>: {escape(str(error))}</p>"
        figure = notebook.central(told_from["study"], told_from["tables"])
        return notebook.shown(figure=figure, report=self.report, **told_from)

    def _repr_png_(self) -> bytes | None:
        """The central figure, for what shows no HTML."""
        try:
            study = tomllib.loads(Store(self.folder).plan()[1]["study"])
            figure = notebook.central(study, {name: self.table(name) for name in TABLES})
        except StoreError:
            return None
        return None if figure is None else figure.chart.png(dpi=100)


def _table(store: Store, name: str) -> pl.DataFrame:
    """A table as it was written; without rows where a plug-in fills it of which the study has no unit.

    Raises:
        StoreError: it is not there, or has changed since it was written.
    """
    foreign = [kind for kind in kinds() if KINDS[kind.kind].origin and name in {schema.name for schema in kind.tables}]
    if foreign and not any(isinstance(unit, tuple(foreign)) for unit in store.plan()[0]):
        return conform(name, [])
    return store.read_table(name)


def open_results(folder: str | Path, *, plugins: Sequence[str] = ()) -> Result:
    """Results that a run has left in a folder.

    Args:
        folder: where they are.
        plugins: files and modules to run first; results that were made with plug-ins need theirs.

    Raises:
        StoreError: it holds no study.
        StudyError: it was made with a plug-in that is not loaded, or one cannot be loaded.
    """
    load_plugins(plugins)
    store = Store(folder)
    units, _ = store.plan()
    failures = {unit.label: store.failure(unit) for unit in units if not store.done(unit)}
    return Result(store.folder, {label: error for label, error in failures.items() if error is not None})


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
    for root in study.roots:
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
    done, failed, n_missing = _states(store, units)
    state = [
        TABLES_VERSION,
        text,
        [failed, n_missing],
        facts["versions"]["manifoldscope"],
        [[entry.name, entry.version] for registry in (FIGURES, FINDINGS, VIEWS) for entry in registry],
        [file_digest(script) for script in scripts().values() if script.is_file()],
        [[unit.key, names_of(unit)] for unit in done],
    ]
    fingerprint = hashlib.sha256(canonical(state).encode()).hexdigest()
    page = store.folder / "report.html"
    if not anew and _made_from(store) == fingerprint and not store.outputs.problems():
        return page
    if progress is not None:
        progress.say("writing tables, figures and the report")
    study = parse(tomllib.loads(text), run_plugins=False)
    tables = collect(store, done)
    asked = study.associations
    tables |= concluded(tables, methods=asked.methods, permutations=asked.permutations, seed=study.seed)
    files = {f"tables/{name}.parquet": parquet(table) for name, table in tables.items()}
    files |= _rendered(store, tables, done, failed, n_missing, facts)
    store.outputs.remove([MADE_FROM])
    store.outputs.write(files)
    store.outputs.remove([name for name in store.outputs.names("figures/") if name not in files])
    store.outputs.write({MADE_FROM: json.dumps({"fingerprint": fingerprint}).encode()})
    return page


def selected(folder: str | Path, wanted: Mapping[str, Sequence[str]]) -> str:
    """Another page of finished results, whose interactive part holds what was asked for; nothing is written.

    Args:
        folder: of the results.
        wanted: names by "networks", "layers", "measures", "attacks" or "classes".

    Raises:
        StudyError: a name that the study does not have, or more than a page holds.
        StoreError: the folder holds no finished study.
    """
    store = Store(folder)
    tables = {name: _table(store, name) for name in TABLES}
    units, facts = store.plan()
    return _rendered(store, tables, *_states(store, units), facts, wanted)["report.html"].decode()


def _rendered(
    store: Store,
    tables: Mapping[str, pl.DataFrame],
    done: Sequence[Unit],
    failed: Sequence[str],
    n_missing: int,
    facts: Mapping[str, Any],
    wanted: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, bytes]:
    """The page and its figures."""
    study = parse(tomllib.loads(facts["study"]), run_plugins=False)
    return render(
        study=study.model_dump(mode="json", exclude_none=True),
        study_text=facts["study"],
        tables=tables,
        findings=diagnose(tables, asked=study.asked_tables),
        pictures=list(pictures(store, done)),
        rerun=shlex.join(["manifoldscope", "run", str(store.folder / "study.toml"), "--out", str(store.folder)]),
        versions={name: str(value) for name, value in facts["versions"].items()},
        failed=failed,
        n_missing=n_missing,
        wanted=wanted,
    )


def _states(store: Store, units: Sequence[Unit]) -> tuple[list[Unit], list[str], int]:
    """The units that are done, those that failed with their errors, and how many others are missing."""
    done: list[Unit] = []
    failed: list[str] = []
    for unit in units:
        if store.done(unit):
            done.append(unit)
        elif error := store.failure(unit):
            failed.append(f"{unit.label}: {error}")
    return done, failed, len(units) - len(done) - len(failed)


def _made_from(store: Store) -> str:
    """From what the outputs were made; empty where that is not known."""
    try:
        return str(json.loads(store.outputs.read(MADE_FROM))["fingerprint"])
    except (StoreError, ValueError, KeyError, TypeError):
        return ""


def _changed(study: Study, changes: Mapping[str, Any] | Iterable[str]) -> Study:
    if list(changes):
        raise StudyError("changes go with a study's name or file; change a Study before it is made, or load() it")
    return study


@dataclass(frozen=True)
class Status:
    """How far a study is: labels of units by state."""

    done: list[str]
    running: list[str]
    failed: dict[str, str]
    missing: list[str]
    skipped_images: pl.DataFrame

    def __repr__(self) -> str:
        counts = {"done": self.done, "running": self.running, "failed": self.failed, "missing": self.missing}
        n_skipped = self.skipped_images.height
        return f"Status({', '.join(f'{len(each):,} {name}' for name, each in counts.items())}, {n_skipped:,} skipped)"


def status(folder: str | Path) -> Status:
    """What is done, running, failed and missing in a folder of results."""
    store = Store(folder)
    units, _ = store.plan()
    done: list[str] = []
    running: list[str] = []
    missing: list[str] = []
    failed: dict[str, str] = {}
    drawn = [unit for unit in units if "skipped_images.parquet" in unit.files]
    for unit in units:
        if store.done(unit):
            done.append(unit.label)
        elif store.running(unit):
            running.append(unit.label)
        elif (error := store.failure(unit)) is not None:
            failed[unit.label] = error
        else:
            missing.append(unit.label)
    return Status(done, running, failed, missing, collect(store, drawn)["skipped_images"])


def associate_outcome(
    measured: pl.DataFrame,
    outcome: pl.DataFrame,
    *,
    y: str,
    key: str | None = None,
    controls: Sequence[str] = (),
    seed: int = 0,
) -> pl.DataFrame:
    """Each measure of points against an outcome of the same classes, such as an accuracy from elsewhere.

    Args:
        measured: as `measured` returns it, or `stepwise`: one association per measure, and per place along the axes.
        outcome: one row per class.
        y: the column of numbers in `outcome`.
        key: its column with the names of the classes; see `join_outcome`.
        controls: columns of `outcome` to hold fixed.
        seed: see `associate`.

    Returns:
        The columns of the axes, measure, parameters, and what `associate_frame` returns; the note names the classes
        that only one of the two has.

    Raises:
        StudyError: a column that is not there or does not hold numbers; classes that do not fit (see `join_outcome`);
            or a measure that says nothing of single classes.
        DataError: a row of the outcome that names no class.

    Example:
        >>> measured = pl.DataFrame(
        ...     [
        ...         {"label": name, "other": None, "measure": "two_nn", "parameters": "", "value": value}
        ...         for name, value in zip("abcde", [1.0, 2.0, 3.0, 4.0, 5.0])
        ...     ]
        ... )
        >>> outcome = pl.DataFrame({"class": list("abcde"), "accuracy": [0.9, 0.7, 0.8, 0.5, 0.4]})
        >>> found = associate_outcome(measured, outcome, y="accuracy")
        >>> found.select("measure", "method", pl.col("coefficient").round(3)).row(0)
        ('two_nn', 'pearson', -0.915)
    """
    for what, table in (("measured", measured), ("outcome", outcome)):
        if not isinstance(table, pl.DataFrame):
            raise StudyError(f"{what} is {type(table).__name__}; expected a polars DataFrame, as pl.read_csv gives it")
    for name in (y, *controls):
        if name not in outcome.columns:
            raise StudyError(unknown("column", name, outcome.columns))
    identity = [*measured.columns[: measured.columns.index("label")], "measure", "parameters"]
    whole = set(measured["measure"]) - set(measured.filter(pl.col("label").is_not_null())["measure"])
    if whole:
        raise StudyError(f"{min(whole)} says nothing of single classes, whose outcome is asked about; leave it out")
    joined = join_outcome(measured, outcome, key=key)
    renamed = {name: outcome_column(measured, name) for name in (y, *controls)}
    columns = [pl.col("value").alias(_X), *(pl.col(joint).alias(name) for name, joint in renamed.items())]
    found = []
    for values, group in joined.frame.group_by(identity, maintain_order=True):
        table = associate_frame(group.select(columns), _X, y, controls=tuple(controls), seed=seed)
        table = table.drop("x", "y", "p_adjusted")  # one of each
        fixed = [pl.lit(value).alias(name) for name, value in zip(identity, values, strict=True)]
        notes = ["; ".join(filter(None, [own, joined.missing])) for own in table["note"]]
        found.append(table.select(*fixed, pl.exclude("note"), pl.Series("note", notes, pl.String)))
    return pl.concat(found, how="vertical_relaxed")
