"""Write the page of a recorded study from its small tables; or take these from the results of a run first.

    manifoldscope run docs/studies/NAME/study.toml --out RESULTS
    python docs/studies/make.py NAME RESULTS        tables and page
    python docs/studies/make.py NAME                the page alone, from the stored tables

Each study has a `page.py` beside its `study.toml`: `TABLES`, which tables are kept; `FIGURES`, which registered figures
are shown; `FINDINGS`, which registered findings are told; `page(tables)`, its words, in which every number is read off
a table; and, where tables are large, `UNUSED`, columns that are not kept, and `derived(result)`, small tables by name
that sum them up.
"""

from __future__ import annotations

import argparse
import importlib.util
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

import manifoldscope as ms
from manifoldscope.report import diagnose
from manifoldscope.report.figure import draw
from manifoldscope.report.words import real_minus
from manifoldscope.study.loading import parse
from manifoldscope.study.store import Store
from manifoldscope.tables import TABLES, conform

HERE = Path(__file__).parent
TOOK = "took"
MOST_FIGURES = 6


def keep(
    folder: Path,
    results: Path,
    wanted: Mapping[str, pl.Expr | None],
    derived: Callable[[ms.Result], Mapping[str, pl.DataFrame]],
    unused: Sequence[str] = (),
) -> None:
    """Write the tables of a run as csv, the rows that a study keeps, and what the run took."""
    opened = ms.open(results)
    if opened.status.missing or opened.failed:
        print(f"note: {len(opened.status.missing)} units of {results} are missing, {len(opened.failed)} failed")
    (folder / "tables").mkdir(exist_ok=True)
    for name, rows in wanted.items():
        table = opened.table(name)
        table = table if rows is None else table.filter(rows)
        empty = [column for column in table.columns if 0 < len(table) == table[column].null_count()]
        table.drop(*empty, *unused, strict=False).write_csv(folder / "tables" / f"{name}.csv", float_precision=6)
    for name, table in derived(opened).items():
        table.write_csv(folder / "tables" / f"{name}.csv", float_precision=6)
    took(results).write_csv(folder / "tables" / f"{TOOK}.csv", float_precision=1)


def took(results: Path) -> pl.DataFrame:
    """Seconds of the units by kind, and on what they were computed."""
    store = Store(results)
    rows = []
    for unit in store.plan()[0]:
        manifest = store.manifest(unit)
        if manifest is not None and "versions" in manifest:  # draws have none
            made = manifest["versions"]
            versions = {"device": made["device"], "torch": made["torch"], "python": made["python"]}
            rows.append({"kind": unit.kind, "seconds": float(manifest["seconds"]), **versions})
    by = ["kind", "device", "torch", "python"]
    return pl.DataFrame(rows).group_by(by).agg(pl.len().alias("units"), pl.col("seconds").sum()).sort(by)


def stored(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables that a study has kept."""
    found = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        table = pl.read_csv(path, infer_schema_length=None)
        found[path.stem] = conform(path.stem, table) if path.stem in TABLES else table
    return found


def write(folder: Path, page: ModuleType) -> None:
    """The page and its figures, from the stored tables."""
    tables = stored(folder)
    study = tomllib.loads((folder / "study.toml").read_text(encoding="utf-8"))
    lines = [page.page(tables).strip(), "", *told(tables, study, page.FINDINGS)]
    shown = [figure for name in page.FIGURES for figure in draw(name, tables, study=study) if not figure.more]
    if shown:
        (folder / "figures").mkdir(exist_ok=True)
    for old in (folder / "figures").glob("*.svg"):
        old.unlink()
    for figure in shown[:MOST_FIGURES]:
        (folder / "figures" / f"{figure.name}.svg").write_text(figure.chart.svg(), encoding="utf-8")
        lines += [f"![{figure.title}](figures/{figure.name}.svg)", "", f"*{figure.title}.* {figure.caption}", ""]
    lines += [*what_it_took(tables[TOOK]), ""]
    lines += ["```", f"manifoldscope run docs/studies/{folder.name}/study.toml --out RESULTS"]
    lines += [f"python docs/studies/make.py {folder.name} RESULTS", "```"]
    (folder / "README.md").write_text(real_minus("\n".join(lines) + "\n"), encoding="utf-8")


def told(tables: Mapping[str, pl.DataFrame], study: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    """The findings of some kinds, as the report words them, with what speaks against them."""
    every = {name: conform(name, tables.get(name, [])) for name in TABLES}
    found = [each for each in diagnose(every, asked=parse(study).asked_tables) if each.kind in kinds]
    lines = ["## What the evidence says", ""] if found else []
    for each in found:
        lines += [f"**{each.title}.** {each.text}", ""]
        lines += [f"- but: {caveat}" for caveat in each.caveats]
        lines += [""] if each.caveats else []
    return lines


def what_it_took(table: pl.DataFrame) -> list[str]:
    """In words."""
    hours = table["seconds"].sum() / 3600
    whole = f"{hours:.1f} hours" if hours >= 0.95 else f"{60 * hours:.0f} minutes"
    devices = ", ".join(sorted(table["device"].unique()))
    torch = ", ".join(sorted(map(str, table["torch"].unique())))
    per_kind = (
        table.group_by("kind").agg(pl.col("units").sum(), pl.col("seconds").sum()).sort("seconds", descending=True)
    )
    parts = [
        f"{row['kind']} {row['seconds'] / 60:.0f} min ({row['units']})"
        for row in per_kind.head(4).iter_rows(named=True)
    ]
    return [
        "## What it took",
        "",
        f"{whole} of units on {devices} (torch {torch}; other work ran beside it): {', '.join(parts)}. "
        "`tables/took.csv` has all kinds.",
    ]


def page_of(folder: Path) -> ModuleType:
    """Its `page.py`."""
    spec = importlib.util.spec_from_file_location(f"page_of_{folder.name}", folder / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Tables and page, or the page alone."""
    parser = argparse.ArgumentParser(description="The page of a recorded study.")
    parser.add_argument("name", help="the folder of the study, in docs/studies")
    parser.add_argument("results", nargs="?", type=Path, help="the folder of a finished run")
    options = parser.parse_args()
    folder = HERE / options.name
    page = page_of(folder)
    if options.results is not None:
        keep(folder, options.results, page.TABLES, getattr(page, "derived", lambda _: {}), getattr(page, "UNUSED", ()))
    write(folder, page)


if __name__ == "__main__":
    main()
