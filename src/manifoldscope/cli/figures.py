"""Draw the figures of a finished study for print: PDF, SVG or PNG, at a width on paper."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifoldscope.cli.printing import say
from manifoldscope.errors import StoreError, StudyError, printable, unknown

if TYPE_CHECKING:
    from manifoldscope.report import Chart, Figure

FORMATS = ("pdf", "svg", "png")

PIXELS = 300
"""An inch of a PNG."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folder", metavar="DIR", help="the results of a study")
    parser.add_argument("--style", default="paper", help="paper (7 pt text, no grid; the default) or screen")
    parser.add_argument("--format", default="pdf", metavar="FORMATS", help="any of pdf,svg,png; the default is pdf")
    parser.add_argument("--width", help="on paper, as 85mm, 8.5cm, 3.35in or 240pt; if omitted, as large as they are")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="these alone: names of `manifoldscope list figures`, or of single files without their ending",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to write them; DIR/figures-STYLE if omitted")


def execute(options: argparse.Namespace) -> int:
    """Write the files and print their names and sizes; 1 where a figure that was asked for could not be drawn."""
    from manifoldscope.report.sizing import TALLEST, sized

    formats = _formats(options.format)
    with sized(options.style, options.width):
        folder = Path(options.out) if options.out else Path(options.folder) / f"figures-{options.style}"
        failed: dict[str, str] = {}
        absent: dict[str, str] = {}
        n_written = 0
        tall: list[str] = []
        unwritten: dict[str, None] = {}
        for figure in _drawn(options.folder, options.only, failed, absent):
            try:
                width, height = (length * 25.4 for length in figure.chart.printed_size)
                for form in formats:
                    for page, data in enumerate(contents(figure.chart, form), 1):
                        name = figure.name if page == 1 else f"{figure.name}--page-{page}"
                        _write(folder / f"{name}.{form}", data)
            except StudyError as error:
                failed[figure.name] = str(error)
                continue
            n_written += 1
            unwritten |= dict.fromkeys(figure.chart.unwritten)
            n_pages = figure.chart.n_pages
            say(f"{figure.name}: {width:.0f} x {height:.0f} mm{f', {n_pages} pages' if n_pages > 1 else ''}")
            if options.width and height > 1.001 * 25.4 * TALLEST:
                tall.append(figure.name)
    if options.only:
        failed |= absent
    elif absent:
        say(f"this study has nothing for: {', '.join(absent)} (--only NAME says why)")
    for name, reason in failed.items():
        say(f"not drawn: {name}: {reason}", file=sys.stderr)
    if unwritten:
        what = f"{', '.join(map(printable, list(unwritten)[:3]))}{', ...' * (len(unwritten) > 3)}"
        say(
            f"no font of this machine can write {what}: PDF and PNG files have the numbers of these classes or letters "
            "instead, SVG files have the names; install a font that has them, such as Noto Sans CJK or Noto Emoji",
            file=sys.stderr,
        )
    for name in tall:
        say(f"{name} is taller than a page ({25.4 * TALLEST:.0f} mm), and cannot be broken; give a larger --width")
    n = "1 figure" if n_written == 1 else f"{n_written} figures"
    say(f"{n} ({', '.join(formats)}) in {folder}" if n_written else "no figure was drawn")
    return 1 if failed else 0


def contents(chart: Chart, form: str) -> Iterator[bytes]:
    """The files of a chart in one of `FORMATS`: a PDF file holds all its pages, other files one each."""
    if form == "pdf":
        yield chart.pdf()
        return
    for page in range(chart.n_pages):
        yield chart.png(PIXELS, page) if form == "png" else chart.svg(page).encode("utf-8")


def _formats(text: str) -> list[str]:
    """The formats of a comma-separated list, each once."""
    asked = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for each in asked:
        if each not in FORMATS:
            raise StudyError(f"--format {text}: {unknown('format', each, FORMATS)}")
    if not asked:
        raise StudyError(f"--format names none; expected any of {', '.join(FORMATS)}")
    return asked


def _drawn(folder: str, only: Sequence[str], failed: dict[str, str], absent: dict[str, str]) -> Iterator[Figure]:
    """The figures of results in the order of the report.

    Those that have no room are named in `failed`, and those that these results have nothing for in `absent`.
    """
    from manifoldscope.api import open_results
    from manifoldscope.report import FIGURES
    from manifoldscope.report.figure import registered, why_not
    from manifoldscope.report.sizing import TooNarrowError

    result = open_results(folder)
    known = [entry.name for entry in sorted(FIGURES, key=lambda entry: (entry.traits["section"].place, entry.name))]
    for name in only:
        if registered(name) not in known:
            raise StudyError(f"--only: {unknown('figure', printable(registered(name)), known)}")
    wanted = list(dict.fromkeys(only)) or known
    wanted = [name for name in wanted if registered(name) == name or registered(name) not in wanted]
    single: dict[str, list[Figure]] = {}
    for name in wanted:
        if registered(name) != name:  # drawn before anything is written, since only then a mistake shows
            try:
                single[name] = result.draw(name)
            except TooNarrowError as error:
                failed[name] = str(error)
    for name in sorted(wanted, key=lambda name: known.index(registered(name))):
        if name in failed:
            continue
        try:
            figures = single[name] if name in single else result.draw(name)
        except StudyError as error:
            failed[name] = str(error)
            continue
        if not figures:
            absent[name] = why_not(name)
        yield from figures


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StoreError(f"cannot write to {path}: {error.strerror or error}; choose a folder with --out") from None
