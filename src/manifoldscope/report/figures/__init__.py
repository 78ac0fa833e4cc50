"""The figures of a report, a file each; they are registered where they are defined, and named nowhere else.

A figure is a function of `Contents` that yields a `Figure` for each drawing: its name, title and caption, the `Chart`,
and the table behind it. The name is the registered one, or begins with it and two hyphens. It yields none where there
is nothing to show; the reason, `missing="no spectra were kept"`, is said where someone asks for it, and in the page
unless it is `optional=True`. Its `Section` has the question that it answers, and a place among the others:

    from manifoldscope.report import FIGURES, Chart, Figure, Section

    @FIGURES.register("sizes", section=Section("sizes", "How large are the networks?", place=65))
    def sizes(contents):
        \"\"\"The number of parameters of each network.\"\"\"
        table = contents.tables["models"].select("model", "n_parameters")
        if table.is_empty():
            return
        chart = Chart(width=4)
        chart.flat[0].barh(table["model"].to_list(), table["n_parameters"].to_list())
        chart.flat[0].set_xlabel("Parameters")
        yield Figure("sizes", "Size of the networks", "Each bar is a network.", chart, table)

That is all, in a file here or in one of yours that is imported before the report is written. `panel` has what figures
look like: the colour of a network, headings, ticks; `report.rows` has what several read off the tables.

Each registered name is also a function of this package that draws the figure from results, or from tables alone:
`ms.report.figures.transfer(ms.open("runs/digits"))` is a matplotlib figure, which a notebook shows, and with
`style="paper", width="85mm"` it is one for print.

So an attribute of this package is a figure, and not the file of that name, from which names are imported as usual:
`from manifoldscope.report.figures.transfer import transfer_table`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from manifoldscope.errors import unknown


class _Figures(ModuleType):
    """The package, in which files do not become attributes as they are imported: figures have their names."""

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Figures


def __getattr__(name: str) -> Any:
    from manifoldscope.report.drawing import drawer, names  # it needs the registry of what stands here

    if not name.startswith("_"):
        if name in names():
            return drawer(name)
        if f"{__name__}.{name}" in sys.modules:
            return sys.modules[f"{__name__}.{name}"]
    raise AttributeError(unknown("figure", name, [] if name.startswith("_") else names()))


def __dir__() -> list[str]:
    from manifoldscope.report.drawing import names

    return names()
