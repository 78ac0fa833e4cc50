"""One self-contained page that says what was asked, what came out, how sure that is, and how to do it again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from manifoldscope.pictures import Picture
from manifoldscope.report import words
from manifoldscope.report.chart import inline, svg_file
from manifoldscope.report.contents import Contents, gather
from manifoldscope.report.document import cell, csv_link, mark, policy, template
from manifoldscope.report.explore import Selection, explore, select
from manifoldscope.report.explore.page import packed
from manifoldscope.report.explore.view import WEB, scripts
from manifoldscope.report.figure import Figure, Section, opening, sections
from manifoldscope.report.figures.panel import MOST_ATTACKS, MOST_LAYERS, MOST_MEASURES, MOST_MODELS
from manifoldscope.report.linking import linked
from manifoldscope.report.rows import clean_geometry, number_range, with_chance
from manifoldscope.report.sizing import sized
from manifoldscope.report.story import story
from manifoldscope.tables import TABLES, parquet

if TYPE_CHECKING:
    from manifoldscope.report.findings import Finding

STYLES = ("report.css", "explore.css", "cards.css", "views.css")
"""Style sheets of the page, in `report/web`."""

SELECTION = "a selection of a study"
"""The kind of a page that `report --select` makes."""

ROWS_SHOWN = 200
FIGURE_ROWS = 60  # of the table behind a figure
FEW_ROWS = 3  # of it, where the page has no room for the figure
PAGE_BYTES = 6_500_000  # of facts, drawings and the tables behind them; tables of the study come to them
FIGURE_BYTES = 3_500_000  # at most of these for drawings with their tables; the others are in their files alone
CENTRAL_INCHES = 4.0  # of the figure that opens the page: its text can still be read where it shrinks to fit a phone
CSV_BYTES = 60_000  # a larger table is not carried in the page: its Parquet file is beside it


@dataclass(frozen=True)
class _Cell:
    text: str
    numeric: bool


@dataclass(frozen=True)
class _TableView:
    name: str
    row: str
    columns: Sequence[str]
    cells: Sequence[Sequence[_Cell]]
    n_rows: int
    csv: str

    @property
    def n_bytes(self) -> int:
        """About how many it takes in the page."""
        marks, line_marks = len('<td class="n"></td>'), len("<tr></tr>\n")
        cells = sum(line_marks + sum(marks + len(cell.text.encode()) for cell in line) for line in self.cells)
        return cells + len(self.csv)


def render(
    *,
    study: Mapping[str, Any],
    study_text: str,
    tables: Mapping[str, pl.DataFrame],
    findings: Sequence[Finding],
    pictures: Sequence[Picture],
    rerun: str,
    versions: Mapping[str, str],
    failed: Sequence[str] = (),
    n_missing: int = 0,
    wanted: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, bytes]:
    """The page and its figures, as files to be written: report.html, figures/*.svg, and the tables behind these,
    figures/*.parquet.

    The page is one file: it loads nothing, and works offline. The same arguments give the same bytes. Figures and their
    files are of the whole study, whatever is wanted: all pages of a study name the same ones.

    Args:
        study: the resolved study file as nested tables.
        study_text: the same as TOML.
        tables: by name; a table that is left out counts as empty, and the page says what is missing.
        findings: conclusions in words, shown by falling weight.
        pictures: what the units of the study kept for figures.
        rerun: the command that repeats the study.
        versions: of this software and what it stands on.
        failed: a line for each unit of work that failed: its label and its error.
        n_missing: how many were not computed yet.
        wanted: what the interactive part holds, see `explore.select`; as much as fits if omitted.

    Returns:
        The content of each file by its path relative to the folder of the study.
    """
    contents = gather(study, tables, pictures)
    selection = select(contents, wanted)
    numbers = itertools.count(1)
    files: dict[str, bytes] = {}
    name, question = str(study.get("name") or "study"), str(study.get("question") or "")
    facts = packed(explore(contents, selection, name=name, question=question))
    room = Room(min(FIGURE_BYTES, PAGE_BYTES - len(facts)))
    with sized(width=CENTRAL_INCHES):
        first = opening(contents)
    central = _drawn(first, 0, files, room) if first is not None else None
    shown = []
    for section, figures, missing in sections(contents):
        views = [_drawn(figure, next(numbers), files, room) for figure in figures]
        shown.append(_SectionView(f"figures-{section.name}", section, missing, views))
    page = _page(
        contents, shown, central, facts, selection, study, study_text, findings, rerun, versions, failed, n_missing
    )
    return {"report.html": page.encode("utf-8"), **files}


class Room:
    """How many bytes of figures a page still takes."""

    def __init__(self, n_bytes: int) -> None:
        self.left = n_bytes

    def takes(self, n_bytes: int) -> bool:
        """Whether there is room for so many; if so it is taken."""
        if n_bytes > self.left:
            return False
        self.left -= n_bytes
        return True


# The page ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SectionView:
    id: str
    section: Section
    missing: str
    figures: Sequence[Mapping[str, Any]]


def _page(
    contents: Contents,
    shown: Sequence[_SectionView],
    central: Mapping[str, Any] | None,
    facts: str,
    selection: Selection,
    study: Mapping[str, Any],
    study_text: str,
    findings: Sequence[Finding],
    rerun: str,
    versions: Mapping[str, str],
    failed: Sequence[str],
    n_missing: int,
) -> str:
    ordered = sorted(findings, key=lambda finding: -finding.weight)
    told = story(study, contents.tables, ordered, n_failed=len(failed), n_missing=n_missing)
    checks = contents.tables["checks"].sort("model", "check")
    name = str(study.get("name") or "study")
    style = "\n".join((WEB / file).read_text(encoding="utf-8") for file in STYLES)
    script = linked(WEB / "main.js", {"scatter": WEB / "views" / "scatter.js", **scripts()})
    text: str = template("report.html").render(
        mark=mark(SELECTION if selection.wanted else "a study"),
        name=name,
        story=told,
        central=central,
        asked=words.asked(study),
        summary=_summary(contents),
        findings=[_finding(finding) for finding in ordered],
        sections=shown,
        left_out=_left_out(contents),
        left_out_of_page=selection.left_out,
        selection=selection.asked_for if selection.wanted else "",
        flagged=checks.filter(pl.col("passed").eq(False)).to_dicts(),
        unjudged=checks.filter(pl.col("passed").is_null()).height,
        n_passed=checks.filter(pl.col("passed")).height,
        checks=_view("checks", checks, "one check of one network's evaluation"),
        skipped_images=_view("skipped_images", contents.tables["skipped_images"], TABLES["skipped_images"].row),
        failed=list(failed),
        n_missing=n_missing,
        tables=[
            _view(name, with_chance(contents.tables[name]), schema.row)
            for name, schema in TABLES.items()
            if contents.tables[name].height or not schema.optional
        ],
        rerun=rerun,
        study_text=study_text,
        versions={key: str(value) for key, value in versions.items()},
        number=words.number,
        policy=policy(style, script),
        style=style,
        script=script,
        facts=facts,
    )
    return text


def _drawn(figure: Figure, number: int, files: dict[str, bytes], room: Room) -> dict[str, Any]:
    """A figure as the page shows it; its drawing and the table behind it are added to the files.

    Both, even where they are in the page: which ones are not depends on what else is in it, and differs between the
    pages of a study.
    """
    name = figure.name
    tree = figure.chart.tree()
    files[f"figures/{name}.svg"] = svg_file(tree).encode("utf-8")
    files[f"figures/{name}.parquet"] = parquet(figure.table)
    table = _view(name, figure.table, "", rows=FIGURE_ROWS)
    drawing = inline(
        tree, prefix=f"f{number}", description=f"Figure {number}: {figure.title}" if number else figure.title
    )
    if not room.takes(len(drawing.encode()) + table.n_bytes):
        drawing, table = "", _view(name, figure.table, "", rows=FEW_ROWS, csv_bytes=0)
        room.takes(table.n_bytes)
    return {
        "id": f"figure-{number}",
        "number": number,
        "name": name,
        "title": figure.title,
        "caption": figure.caption,
        "more": figure.more,
        "svg": drawing,
        "table": table,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    numbers = pl.DataFrame(list(finding.numbers), infer_schema_length=None, strict=False) if finding.numbers else None
    return {
        "kind": finding.kind,
        "title": finding.title,
        "paragraphs": [part for part in finding.text.split("\n\n") if part.strip()],
        "caveats": list(finding.caveats),
        "numbers": None if numbers is None else _view(finding.kind, numbers, ""),
    }


def _summary(contents: Contents) -> list[tuple[str, str]]:
    """The size of the study in a few numbers."""
    geometry, outcomes = clean_geometry(contents.tables["geometry"]), contents.tables["outcomes"]
    classes = {*geometry["class_index"], *contents.tables["robustness"]["class_index"]}
    tiles = [
        (words.number(len(contents.models)), "network" if len(contents.models) == 1 else "networks"),
        (words.number(len(classes)), "class" if len(classes) == 1 else "classes"),
        (words.number(len(contents.layers)), "layer" if len(contents.layers) == 1 else "layers"),
        (number_range(geometry["n_points"]) if geometry.height else "0", "images measured a class"),
    ]
    if outcomes.height:
        attacked = outcomes["image"].n_unique()
        tiles.append((words.number(attacked), "image attacked" if attacked == 1 else "images attacked"))
    strengths = contents.tables["robustness"].select("attack", "strength").n_unique() if contents.attacks else 0
    return [*tiles, (words.number(strengths), "strength of attack" if strengths == 1 else "strengths of attack")]


def _left_out(contents: Contents) -> str:
    """What there would be more figures of."""
    parts = []
    for n, most, noun in (
        (len(contents.models), MOST_MODELS, "networks"),
        (len(contents.layers), MOST_LAYERS, "layers"),
        (len(contents.measures), MOST_MEASURES, "measures"),
        (len(contents.attacks), MOST_ATTACKS, "attacks"),
    ):
        if n > most:
            parts.append(f"the first {most} of {n} {noun}")
    return f"The figures show {words.listing(parts)}; the tables hold all of them." if parts else ""


def _view(name: str, table: pl.DataFrame, row: str, rows: int | None = None, csv_bytes: int = CSV_BYTES) -> _TableView:
    """A table as the page shows it: its first rows, `ROWS_SHOWN` if omitted."""
    numeric = [dtype.is_numeric() for dtype in table.dtypes]
    cells = [
        [_Cell(cell(value), is_number) for value, is_number in zip(line, numeric, strict=True)]
        for line in table.head(ROWS_SHOWN if rows is None else rows).iter_rows()
    ]
    return _TableView(name, row, table.columns, cells, table.height, csv_link(table, csv_bytes))
