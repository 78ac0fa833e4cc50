"""Published geometry of 224 + 80 CIFAR-10 networks through the evidence, and the page beside this file.

python docs/studies/ood-geometry/make.py FOLDER     tables, figure and page; FOLDER has networks.csv, corruptions.csv
python docs/studies/ood-geometry/make.py            the figure and the page alone, from the stored tables
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import numpy as np
import polars as pl

from manifoldscope.evidence import associate_frame
from manifoldscope.report.chart import FAINT, INK, Chart, styled
from manifoldscope.report.figures.panel import heading
from manifoldscope.report.words import real_minus

HERE = Path(__file__).parent
MEASURES = ("dimension_id", "utility_id", "capacity_id", "participation_ratio_id", "nc1_id", "radius_id")
SETTING = ("family", "learning_rate", "weight_decay")
ACCURACY, OUTCOME, CORRUPTED = "accuracy_test", "accuracy_linear_probe_ood", "accuracy_test_corrupted"
NAMES = {
    "dimension_id": "effective dimension",
    "utility_id": "effective utility",
    "capacity_id": "effective capacity",
    "participation_ratio_id": "participation ratio",
    "nc1_id": "NC1",
    "radius_id": "effective radius",
    ACCURACY: "test accuracy",
}


def settings(table: pl.DataFrame, *more: str) -> pl.DataFrame:
    """The mean over seeds of each setting of the training: seeds of one setting are no further settings."""
    return table.group_by([*more, *SETTING]).agg(pl.col(pl.Float64).mean()).sort([*more, *SETTING])


def out_of_distribution(networks: pl.DataFrame) -> pl.DataFrame:
    """Each measure against the accuracy of a linear probe on out-of-distribution images, by family and over all."""
    found = []
    for seeds, table in (("each", networks), ("mean", settings(networks))):
        xs = [*MEASURES, ACCURACY]
        plain = associate_frame(table, xs, OUTCOME, by="family", pooled=True).filter(pl.col("method") == "pearson")
        given = associate_frame(table, MEASURES, OUTCOME, controls=[ACCURACY], by="family", pooled=True)
        found += [
            each.with_columns(seeds=pl.lit(seeds)) for each in (plain, given.filter(pl.col("method") == "partial"))
        ]
    return pl.concat(found).drop("y")


def corrupted(corruptions: pl.DataFrame) -> pl.DataFrame:
    """Each measure against accuracy under each corruption, given clean test accuracy and not, with families removed."""
    measures = [name for name in MEASURES if name in corruptions.columns]
    found = []
    for (corruption,), table in corruptions.group_by("corruption", maintain_order=True):
        plain = associate_frame(table, measures, CORRUPTED, by="family", pooled=True)
        given = associate_frame(table, measures, CORRUPTED, controls=[ACCURACY], by="family", pooled=True)
        both = (plain.filter(pl.col("method") == "pearson"), given.filter(pl.col("method") == "partial"))
        found += [each.with_columns(corruption=pl.lit(corruption)) for each in both]
    return pl.concat(found).filter(pl.col("over") != "group").drop("y")


@styled
def draw(table: pl.DataFrame) -> str:
    """Pearson's r of each measure within each family, pooled, and with the means of families removed."""
    chart = Chart(columns=len(MEASURES), width=1.45, height=2.4, left=1.55, across=0.22, bottom=0.5)
    rows = table.filter((pl.col("seeds") == "mean") & (pl.col("method") == "pearson"))
    groups = [*rows.filter(pl.col("over") == "group")["family"].unique().sort(), "pooled", "within"]
    for axes, measure in zip(chart.flat, MEASURES, strict=True):
        mine = rows.filter(pl.col("x") == measure)
        for place, group in enumerate(groups):
            here = mine.filter(
                (pl.col("over") == group) if group in ("pooled", "within") else (pl.col("family") == group)
            )
            row = here.row(0, named=True)
            colour = INK if group in ("pooled", "within") else "#0072B2"
            low, high = (np.nan if row[end] is None else row[end] for end in ("low", "high"))
            axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
            axes.plot([row["coefficient"]], [place], marker="o", color=colour, markersize=4)
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.set_xlim(-1.02, 1.02)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        named = ["families removed" if group == "within" else group for group in groups]
        axes.set_yticks(range(len(groups)), named if axes is chart.flat[0] else [""] * len(groups))
        axes.set_xlabel("r")
        heading(axes, NAMES[measure], size=8)
    return chart.svg()


def page(table: pl.DataFrame, under: pl.DataFrame) -> str:
    """The page, of these numbers."""
    mean = table.filter(pl.col("seeds") == "mean")

    def told(row: dict[str, float]) -> str:
        limits = "no interval" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}"
        return f"{row['coefficient']:+.2f} ({limits})"

    def one(measure: str, over: str, method: str, rows: pl.DataFrame = mean) -> dict[str, float]:
        return rows.filter((pl.col("x") == measure) & (pl.col("over") == over) & (pl.col("method") == method)).row(
            0, named=True
        )

    def families(measure: str) -> str:
        here = mean.filter((pl.col("x") == measure) & (pl.col("over") == "group") & (pl.col("method") == "pearson"))
        return f"{here['coefficient'].min():+.2f} to {here['coefficient'].max():+.2f}"

    first = [
        f"| {NAMES[measure]} | {families(measure)} | {told(one(measure, 'pooled', 'pearson'))} | "
        f"{told(one(measure, 'within', 'pearson'))} | "
        + (told(one(measure, "within", "partial")) if measure != ACCURACY else "-")
        + " |"
        for measure in (*MEASURES, ACCURACY)
    ]
    names = under["corruption"].unique(maintain_order=True).to_list()
    shown = [measure for measure in MEASURES if measure in set(under["x"])]
    second = []
    for name in names:
        rows = under.filter(pl.col("corruption") == name)
        cells = [
            f"{one(m, 'within', 'pearson', rows)['coefficient']:+.2f} / {one(m, 'within', 'partial', rows)['coefficient']:+.2f}"
            for m in shown
        ]
        second.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    n_networks = int(table.filter((pl.col("seeds") == "each") & (pl.col("over") == "pooled"))["n"].max())
    n_settings = int(mean.filter(pl.col("over") == "pooled")["n"].max())
    dimension, accuracy = one("dimension_id", "within", "pearson"), one(ACCURACY, "within", "pearson")
    given = one("dimension_id", "within", "partial")
    notes = [
        f"- {NAMES[row['x']]}: {row['note']}"
        for row in mean.filter(
            (pl.col("over") == "pooled") & (pl.col("method") == "pearson") & (pl.col("note") != "")
        ).iter_rows(named=True)
    ]
    return "\n".join(
        [
            "# Geometry and out-of-distribution accuracy across networks",
            "",
            f"Which geometry of {n_networks} CIFAR-10 networks of five families, measured on clean test images, goes with",
            "the accuracy of a linear probe on out-of-distribution images; and does it hold within a family? The tables",
            "are those that Chou, Kirsanov, Yang & Chung (ICLR 2026) published; nothing was trained here.",
            "",
            *textwrap.wrap(
                f"**Answer.** Effective dimension does, within every family ({families('dimension_id')}), and more than "
                f"test accuracy does ({families(ACCURACY)}): with the means of families removed r = {told(dimension)}, "
                f"against {told(accuracy)} for test accuracy, and {told(given)} with test accuracy held fixed. A *larger* "
                "dimension goes with *better* transfer. The first study of dimension and robustness had fewer dimensions "
                "in the more robust classes; but it compared classes of one network, and another kind of robustness. "
                "Capacity is negative over all networks together and vanishes within two families, the participation "
                "ratio is positive and vanishes within one, and NC1 changes its sign from one family to another.",
                width=110,
            ),
            "",
            "Each point is one setting of learning rate and weight decay: the mean over its seeds, which are no further",
            f"settings ({n_settings} settings). Intervals are 95% jackknife intervals.",
            "",
            "| measure, on test images | r within the families | r pooled | r, families removed | and given test accuracy |",
            "|---|---|---|---|---|",
            *first,
            "",
            "![Pearson's r by family](figures/families.svg)",
            "",
            "*Pearson's r with the accuracy of the probe, within each family (blue), over all networks, and over all with",
            "the means of families removed (black); bars are 95% jackknife intervals.*",
            "",
            "What the evidence names by itself in the pooled rows:",
            "",
            *notes,
            "",
            "## Under corruptions the sign depends on the corruption",
            "",
            "80 other networks (SGD, one seed), accuracy of the trained classifier on corrupted test images; r with the",
            "means of families removed, without / given clean test accuracy:",
            "",
            f"| corruption | {' | '.join(NAMES[m] for m in shown)} |",
            "|---|" + "---|" * len(shown),
            *second,
            "",
            "Fog, brightness and contrast leave accuracy close to the clean one, and what goes with clean accuracy then",
            "goes with them: the second number, not the first, speaks of robustness.",
            "",
            "## What is in doubt",
            "",
            "- The accuracy of a probe is not that of the classifier, and the published files do not name the",
            "  out-of-distribution data beside these networks.",
            "- Learning rate and weight decay move geometry and transfer together: an association over training settings",
            "  is no effect of geometry.",
            "- Effective measures are the authors' values (GLUE); the code that made them is not public.",
            "- `EfficientNetB0-050` has nearly all its variance along one direction, and is in these numbers; without it",
            "  its family's r of NC1 is close to 0.",
            "",
            "What agrees with the source: the 42 correlations of single networks with these measures, to three digits",
            "(a test of this project holds them). What it adds: intervals, families removed, test accuracy held fixed.",
            "",
            "```",
            "python docs/studies/ood-geometry/make.py FOLDER",
            "```",
            "",
        ]
    )


def main() -> None:
    """Write tables, figure and page; or figure and page alone."""
    parser = argparse.ArgumentParser(description="Published geometry of networks through the evidence.")
    parser.add_argument("folder", nargs="?", type=Path, help="with networks.csv and corruptions.csv")
    options = parser.parse_args()
    files = [HERE / "tables" / f"{name}.csv" for name in ("out_of_distribution", "corrupted")]
    if options.folder is not None:
        (HERE / "tables").mkdir(exist_ok=True)
        out_of_distribution(pl.read_csv(options.folder / "networks.csv")).write_csv(files[0], float_precision=6)
        corrupted(pl.read_csv(options.folder / "corruptions.csv")).write_csv(files[1], float_precision=6)
    table, under = (pl.read_csv(file).with_columns(pl.col("note").fill_null("")) for file in files)
    (HERE / "figures").mkdir(exist_ok=True)
    (HERE / "figures" / "families.svg").write_text(draw(table), encoding="utf-8")
    (HERE / "README.md").write_text(real_minus(page(table, under)), encoding="utf-8")


if __name__ == "__main__":
    main()
