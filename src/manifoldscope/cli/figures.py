"""Draw the figures of a finished study for print: PDF, SVG or PNG, at a width on paper."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifoldscope.cli.printing import say
from manifoldscope.errors import StoreError, StudyError, printable, unknown

if TYPE_CHECKING:
    from manifoldscope.report import Chart, Figure

FORMATS = ("pdf", "svg", "png")

PIXELS = 300
"""An inch of a PNG."""

PAGE = 240
"""Millimetres that a page has room for, upwards."""


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
        help="these alone: names of `manifoldscope list figures`, or of files",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to write them; DIR/figures-STYLE if omitted")


def execute(options: argparse.Namespace) -> int:
    """Write the files and print their names and sizes; 1 where a figure could not be drawn."""
    from manifoldscope.report.sizing import sized

    formats = _formats(options.format)
    with sized(options.style, options.width):
        folder = Path(options.out) if options.out else Path(options.folder) / f"figures-{options.style}"
        failed: dict[str, str] = {}
        written: set[str] = set()
        tall = 0
        for figure in _drawn(options.folder, options.only, failed):
            try:
                width, height = figure.chart.printed_size
                name = figure.name if figure.name not in written else f"{figure.name}--{len(written) + 1}"
                for form in formats:
                    _write(folder / f"{name}.{form}", content(figure.chart, form))
            except StudyError as error:
                failed[figure.name] = str(error)
                continue
            written.add(name)
            tall += height * 25.4 > PAGE
            say(f"{name}: {width * 25.4:.0f} x {height * 25.4:.0f} mm")
    for name, reason in failed.items():
        say(f"not drawn: {name}: {reason}", file=sys.stderr)
    if tall and options.width:
        one = tall == 1
        say(
            f"{tall} {'figure is' if one else 'figures are'} taller than a page ({PAGE} mm): with a larger --width "
            f"{'its' if one else 'their'} panels stand abreast"
        )
    n = "1 figure" if len(written) == 1 else f"{len(written)} figures"
    say(f"{n} ({', '.join(formats)}) in {folder}" if written else "there was no figure to draw")
    return 1 if failed else 0


def content(chart: Chart, form: str) -> bytes:
    """The file of a chart in one of `FORMATS`."""
    if form == "png":
        return chart.png(PIXELS)
    return chart.pdf() if form == "pdf" else chart.svg().encode("utf-8")


def _formats(text: str) -> list[str]:
    """The formats of a comma-separated list, each once."""
    asked = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for each in asked:
        if each not in FORMATS:
            raise StudyError(f"--format {text}: {unknown('format', each, FORMATS)}")
    if not asked:
        raise StudyError(f"--format names none; expected any of {', '.join(FORMATS)}")
    return asked


def _drawn(folder: str, only: Sequence[str], failed: dict[str, str]) -> Iterator[Figure]:
    """The figures of results in the order of the report; those that have no room are named in `failed`."""
    from manifoldscope.api import open_results
    from manifoldscope.report import FIGURES

    result = open_results(folder)
    entries = sorted(FIGURES, key=lambda entry: (entry.traits["section"].place, entry.name))
    registered = [entry.name for entry in entries]
    files = set(only) - set(registered)
    seen: set[str] = set()
    waiting: list[Figure] = []
    for name in registered:
        if only and name not in only and not files:
            continue
        try:
            figures = result.draw(name)
        except StudyError as error:
            if not only or name in only:
                failed[name] = str(error)
            continue
        seen |= {figure.name for figure in figures}
        chosen = [figure for figure in figures if not only or name in only or figure.name in files]
        if files:
            waiting += chosen  # until it is known that all of them are there
        else:
            yield from chosen
    _all_known(files, {*registered, *seen})
    yield from waiting


def _all_known(files: Collection[str], known: Collection[str]) -> None:
    for name in sorted(set(files) - set(known)):
        raise StudyError(f"--only: {unknown('figure', printable(name), known)}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StoreError(f"cannot write to {path}: {error.strerror or error}; choose a folder with --out") from None
