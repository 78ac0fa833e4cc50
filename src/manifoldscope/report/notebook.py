"""What a notebook shows of a study: the question, the answer, how sure it is, and the central figure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from manifoldscope.report.chart import inline, plain, styled, svg_file
from manifoldscope.report.contents import gather
from manifoldscope.report.figure import FIGURES, Figure, opening
from manifoldscope.report.findings import Finding
from manifoldscope.report.story import story

_STYLE = """
.manifoldscope{max-width:60rem;line-height:1.45}
.manifoldscope p{margin:.35rem 0}
.manifoldscope .soft{opacity:.75}
.manifoldscope a{color:inherit;text-decoration:underline}
.manifoldscope .answer{font-size:1.25em;font-weight:600;line-height:1.3}
.manifoldscope .caution{border-left:3px solid #d58a1a;padding-left:.8rem;margin:.7rem 0}
.manifoldscope ul{margin:.2rem 0;padding-left:1.2rem}
.manifoldscope .chart{background:#fff;border-radius:6px;padding:.5rem;margin:.7rem 0;overflow-x:auto}
.manifoldscope .chart{width:fit-content;max-width:100%}
.manifoldscope .chart svg{display:block;max-width:100%;height:auto}
"""


def shown(
    *,
    study: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    findings: Sequence[Finding],
    figure: Figure | None,
    report: Path,
    n_failed: int = 0,
    n_missing: int = 0,
) -> str:
    """A piece of HTML for the output of a cell; it loads nothing and runs no script.

    Its colours are those of the notebook, light or dark; the figure stands on white, as in print.

    Args:
        study: the study file as nested tables.
        tables: all of them, by name.
        findings: the weightiest first, as `diagnose` gives them.
        figure: the one that carries the answer, see `central`; None where there is none.
        report: the file with the whole report.
        n_failed, n_missing: how many units of work failed, and were not computed yet.
    """
    told = story(study, tables, findings, n_failed=n_failed, n_missing=n_missing)
    parts = [f"<p><b>{_text(str(study.get('name') or 'study'))}</b></p>"]
    if told.question:
        parts.append(f'<p class="soft">{_text(told.question)}</p>')
    parts.append(f'<p class="answer">{_text(told.answer)}</p>')
    parts += [f"<p>{_text(finding)}.</p>" for finding in told.also]
    if told.incomplete:
        parts.append(f'<p class="caution">{_text(told.incomplete)}</p>')
    parts += [f"<p>{_text(part)}</p>" for part in told.sure]
    if told.change:
        parts.append(f'<div class="caution"><b>Reasons for caution</b>{_listed(told.change)}</div>')
    if figure is not None:
        tree = figure.chart.tree()
        own = hashlib.sha256(svg_file(tree).encode()).hexdigest()[:8]  # two outputs of a notebook are one page
        parts.append(f'<div class="chart">{inline(tree, prefix=f"ms-{own}", description=figure.title)}</div>')
        parts.append(f"<details><summary>How to read the figure</summary><p>{_text(figure.caption)}</p></details>")
    if others := [finding.title for finding in findings[1:] if finding.title not in told.also]:
        parts.append(f"<details><summary>What else was found ({len(others)})</summary>{_listed(others)}</details>")
    where = f'<a href="{escape(link(report))}" target="_blank" rel="noopener">{_text(str(report))}</a>'
    parts.append(f'<p class="soft">The whole report: {where}</p>')
    return f'<div class="manifoldscope"><style>{_STYLE}</style>{"".join(parts)}</div>'


@styled
def central(study: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure | None:
    """The figure that carries the answer: that which opens the report, or else the first of dimension against accuracy.

    Args:
        study: the study file as nested tables, for the order of networks, layers and measures.
        tables: all of them, by name.

    Returns:
        None where the tables have no class with both a dimension and an accuracy.
    """
    contents = gather(study, tables, [])
    first = iter(FIGURES["dimension_against_accuracy"].target(contents))
    return opening(contents) or next(first, None)


def link(report: Path) -> str:
    """The address of a report as a notebook can follow it: relative, where the file lies below the current folder.

    Example:
        >>> link(Path("runs/my study/report.html"))
        'runs/my%20study/report.html'
    """
    if not report.is_absolute():
        return quote(report.as_posix())
    try:
        return quote(report.relative_to(Path.cwd()).as_posix())
    except (ValueError, OSError):
        return report.as_uri()


def _listed(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(text)}</li>' for text in texts)}</ul>"


def _text(text: str) -> str:
    return escape(plain(text))
