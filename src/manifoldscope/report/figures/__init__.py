"""The figures of a report, a file each; they are registered where they are defined, and named nowhere else.

A figure is a function of `Contents` that yields a `Figure` for each drawing: its name, title and caption, the `Chart`,
and the table behind it. It yields none where there is nothing to show; if that is to be said, it is registered with the
reason, `missing="no spectra were kept"`. Its `Section` has the question that it answers, and a place among the others:

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
"""
