"""Adversarial examples of a source model, evaluated on a target model: a matrix for each strength of an attack."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from manifoldscope.evidence import with_attack_name
from manifoldscope.report import words
from manifoldscope.report.chart import INK, Chart, plain
from manifoldscope.report.contents import Contents, as_listed
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_ATTACKS, MOST_MODELS, MOST_STRENGTHS, evenly, heading, in_order
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import Reals, number_range, with_interval

SECTION = Section("transfer", "Do adversarial examples transfer between networks?", place=40)

_CELL = 0.52  # inches
_DARK = 0.5  # a share from which the ground of a cell is too dark for dark letters


@FIGURES.register(
    "transfer",
    section=SECTION,
    optional=True,
    missing="no adversarial examples were shown to other networks (transfer = true in [[attacks]])",
)
def transfer(contents: Contents) -> Iterator[Figure]:
    """Adversarial examples of each source model on each target model: a figure per attack."""
    every = transfer_table(contents.tables["transfer"])
    for place, attack in enumerate(as_listed(every["attack_name"], contents.attacks)[:MOST_ATTACKS]):
        table = every.filter(pl.col("attack_name") == attack)
        yield Figure(
            name=words.slug("transfer", attack),
            title=f"Transfer of {words.attack(attack)} between networks",
            caption=(
                "A row is the source model, which was attacked; a column is the target model, on which the adversarial "
                f"examples are evaluated; a panel is a strength of {words.attack(attack)}. Each cell is the attack "
                "success rate (%, its 95% Wilson interval below it), among those that both networks classify "
                f"correctly when clean: {number_range(table['n_clean_correct'])} of {number_range(table['n_images'])} "
                f"images, so that cells of one row may count different images.{'' if place else _READING}"
            ),
            chart=transfer_matrix(table, attack=attack, models=contents.models),
            table=table,
            more=place > 0,
        )


_READING = (
    " The outlined diagonal is the attack on the network itself, which it saw (white-box); elsewhere the target "
    "model was never queried (black-box, by transfer). Grey: no image counts. Images are last iterates. Where the "
    "attack succeeds more often off the diagonal than on it, the attack on that network is weak: its gradients may "
    "be masked. A low rate off the diagonal does not make a network robust."
)


def transfer_table(transfer: pl.DataFrame) -> pl.DataFrame:
    """Adversarial examples by source and target model, with the attack success rate and its 95% Wilson interval.

    Strength 0 is left out where there are others: there nothing is made.
    """
    table = with_attack_name(transfer).filter(
        (pl.col("strength") > 0) | (pl.col("strength").max().over("attack_name") == 0)  # an attack of strength 0 alone
    )
    shares = table.with_columns(
        share=pl.when(pl.col("n_clean_correct") > 0).then(pl.col("n_misclassified") / pl.col("n_clean_correct"))
    )
    return (
        with_interval(shares, successes="n_misclassified", trials="n_clean_correct", name="share")
        .select(
            *(
                "attack_name",
                "strength",
                "source_model",
                "target_model",
                "n_images",
                "n_clean_correct",
                "n_misclassified",
            ),
            *("share", "share_low", "share_high"),
        )
        .sort("attack_name", "strength", "source_model", "target_model")
    )


def transfer_matrix(table: pl.DataFrame, *, attack: str, models: Sequence[str] = ()) -> Chart:
    """The attack success rate, by source model (rows) and target model (columns).

    A panel per strength, of one attack; `table` is `transfer_table(...)`. The diagonal is outlined.
    """
    names = in_order(list({*table["source_model"], *table["target_model"]}), models)[:MOST_MODELS]
    strengths = evenly(table["strength"].unique().to_list(), MOST_STRENGTHS)
    columns = min(len(strengths), 3 if len(names) <= 4 and len(strengths) != 4 else 2)
    side = max(1.9, _CELL * len(names))
    longest = max(wide(plain(name, 18)) for name in names)
    margin = 0.45 + 0.065 * longest
    chart = Chart(
        rows=math.ceil(len(strengths) / columns),
        columns=columns,
        width=side,
        height=side,
        left=margin + 0.2,
        right=0.95,
        top=0.4,
        bottom=margin,
        across=0.35,
        down=margin + 0.4,
    )
    image = None
    for place, axes in enumerate(chart.flat):
        if place >= len(strengths):
            axes.set_axis_off()
            continue
        panel = table.filter(pl.col("strength") == strengths[place])
        shares = _matrix(panel, names)
        axes.set_facecolor("#d5d8db")  # a pair of networks without an image that counts
        image = axes.imshow(shares, cmap="cividis_r", vmin=0, vmax=1, interpolation="none")
        _cells(chart, axes, panel, names)
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(True)
        axes.tick_params(length=0)
        texts = [plain(name, 18) for name in names]
        axes.set_xticks(range(len(names)), texts, rotation=90 if longest * len(names) > 16 else 0)
        axes.set_yticks(range(len(names)), texts if place % columns == 0 else [""] * len(names))
        axes.set_xlabel("target model")
        if place % columns == 0:
            axes.set_ylabel("source model")
        heading(axes, "", after=words.at_strength(attack, strengths[place]))
    if image is not None:
        inch, at = 1 / chart.get_figwidth(), chart.flat[columns - 1].get_position()
        bar = chart.colorbar(image, cax=chart.add_axes((at.x1 + 0.12 * inch, at.y0, 0.12 * inch, at.height)))
        bar.outline.set_linewidth(0.5)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
        bar.set_label("Attack success rate (%)")
        chart.shared.append(bar.ax)
    return chart


def _matrix(panel: pl.DataFrame, names: Sequence[str]) -> Reals:
    """(sources, targets): rates, NaN where there is none."""
    shares = np.full((len(names), len(names)), np.nan)
    for row in panel.iter_rows(named=True):
        if row["share"] is not None and row["source_model"] in names and row["target_model"] in names:
            shares[names.index(row["source_model"]), names.index(row["target_model"])] = row["share"]
    return shares


def _cells(chart: Chart, axes: Axes, panel: pl.DataFrame, names: Sequence[str]) -> None:
    """Write each share with its interval, and outline the diagonal."""
    places, texts = [], []
    for row in panel.iter_rows(named=True):
        if row["source_model"] not in names or row["target_model"] not in names:
            continue
        up, across = names.index(row["source_model"]), names.index(row["target_model"])
        places.append((across, up))
        rate = f"{row['n_misclassified']} of {row['n_clean_correct']} misclassified" + ", the attack itself" * (
            up == across
        )
        texts.append(f"source {row['source_model']}, target {row['target_model']}: {rate}")
        if row["share"] is None:
            axes.text(across, up, "–", ha="center", va="center", fontsize=8.5)
            continue
        colour = "white" if row["share"] > _DARK else INK
        bold = "bold" if up == across else "normal"
        axes.text(
            across, up - 0.12, f"{row['share'] * 100:.0f}", ha="center", va="center", color=colour, fontweight=bold
        )
        interval = f"{row['share_low'] * 100:.0f}–{row['share_high'] * 100:.0f}"
        axes.text(across, up + 0.24, interval, ha="center", va="center", color=colour, fontsize=6.5)
    across_all, up_all = ([place[axis] for place in places] for axis in (0, 1))
    chart.explain(axes.scatter(across_all, up_all, s=400, marker="s", alpha=0), texts)
    for place in range(len(names)):
        axes.add_patch(
            Rectangle((place - 0.46, place - 0.46), 0.92, 0.92, fill=False, edgecolor="#D55E00", linewidth=1.4)
        )
