"""A figure at a width in print: how its panels stand, what can be read, and what its files hold."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
import zlib

import polars as pl
import pytest
from matplotlib.text import Text
from PIL import Image

from conftest import chart_of
from manifoldscope.errors import StudyError
from manifoldscope.report import Chart
from manifoldscope.report.sizing import Grid, Size, inches, sized
from manifoldscope.report.styles import LEAST_POINTS


@pytest.mark.parametrize(
    ("width", "expected"),
    [("85mm", 85 / 25.4), (" 8.5 cm", 85 / 25.4), ("3.35in", 3.35), ("240pt", 240 / 72), (2, 2.0)],
)
def test_widths_are_read_in_any_unit(width: str | float, expected: float) -> None:
    assert inches(width) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("width", "message"),
    [
        ("85", r"the width '85' cannot be read: it has no unit; write it in mm, cm, in or pt, as 85mm"),
        ("85px", "expected a number and its unit"),
        ("wide", "expected a number and its unit"),
        ("-5mm", "expected a number and its unit"),
        ("2mm", "that of no page: 2 mm; expected 13 to 1016 mm"),
        (float("nan"), "of no page"),
    ],
)
def test_what_is_no_width_is_refused_with_what_is(width: str | float, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        inches(width)


def test_an_unknown_style_is_refused_with_the_nearest() -> None:
    with pytest.raises(StudyError, match="there is no style 'papr'; did you mean 'paper'"), sized("papr"):
        pass


def grid(columns: int, *, rows: int = 1, width: float = 3.0, height: float = 2.0, across: float = 0.5) -> Grid:
    return Grid(rows, columns, columns, width, height, 0.5, 0.5, 0.4, 0.5, across, 0.6)


@pytest.mark.parametrize(
    ("columns", "width", "abreast", "panel"),
    [
        (3, 10.0, 3, 8 / 3),  # 9 inches of room, two gaps of a half
        (3, 7.0, 2, 2.75),
        (3, 5.0, 1, 4.0),
        (4, 7.0, 2, 2.75),
        (4, 11.0, 4, 2.125),  # just above seven tenths of three
        (4, 10.8, 2, 4.65),  # three would stand abreast, and leave one alone
        (1, 1.5 + 0.5, 1, 1.0),
    ],
)
def test_as_many_panels_stand_abreast_as_fit(columns: int, width: float, abreast: int, panel: float) -> None:
    laid = grid(columns).at(Size("screen", width))  # the text of the screen: an inch is an inch
    assert laid.abreast == abreast
    assert laid.width == pytest.approx(panel)
    assert laid.total[0] == pytest.approx(width)
    assert laid.lines == -(-columns // abreast)


def test_a_square_panel_stays_one_and_does_not_grow_without_end() -> None:
    laid = grid(1, width=2.0, height=2.0).at(Size("screen", 10.0))
    assert laid.width == laid.height == pytest.approx(2.6)
    assert laid.total[0] == pytest.approx(10.0)


def test_a_width_without_room_for_a_panel_is_refused_with_the_least() -> None:
    with pytest.raises(StudyError, match=r"a width of 25.4 mm is too small for this figure, .* at least --width 51mm"):
        grid(1).at(Size("screen", 1.0))


def test_without_a_width_nothing_is_laid_out_again() -> None:
    assert grid(3).at(Size("paper")) == grid(3)


@pytest.fixture(scope="module")
def printed(sampled: dict[str, pl.DataFrame]) -> dict[str, Chart]:
    with sized("paper", "85mm"):
        found = {
            name: chart_of(name, sampled) for name in ("transfer", "dimension_against_accuracy", "pairs", "curves")
        }
    for chart in found.values():
        assert chart.printed_size[0] == pytest.approx(85 / 25.4)
    return found


def test_all_text_is_at_least_six_points_and_on_the_page(printed: dict[str, Chart]) -> None:
    for (name, chart), page in [(item, page) for item in printed.items() for page in range(item[1].n_pages)]:
        chart.png(100, page)
        renderer = chart._get_renderer()
        for text in chart.findobj(Text):
            if not text.get_text() or not text.get_visible():
                continue
            assert float(text.get_fontsize()) * chart.size.scale >= LEAST_POINTS - 1e-9, (name, text)
        for axes in chart.axes:
            if not axes.get_visible():
                continue
            box = axes.get_tightbbox(renderer)
            assert box is not None
            assert box.x0 >= -2, (name, axes)
            assert box.x1 <= chart.bbox.width + 2, (name, axes)
            assert box.y0 >= -2, (name, axes)
            assert box.y1 <= chart.bbox.height + 2, (name, axes)


def test_rows_do_not_cover_each_other_and_a_panel_that_begins_one_is_labelled(printed: dict[str, Chart]) -> None:
    chart = printed["transfer"]
    assert chart.grid.abreast == 1
    renderer = chart._get_renderer()
    boxes = [box for axes in chart.flat if (box := axes.get_tightbbox(renderer)) is not None and axes.axison]
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    for axes in chart.flat:
        if axes.axison:
            assert axes.get_ylabel() == "source model"
            assert all(label.get_text() for label in axes.get_yticklabels())


def test_a_pdf_has_its_size_embedded_fonts_text_and_no_date(printed: dict[str, Chart]) -> None:
    chart = printed["transfer"]
    data = chart.pdf()
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
    assert [float(each) / 72 for each in box] == pytest.approx(chart.printed_size, rel=1e-6)
    assert b"/FontFile2" in data  # a TrueType font, whole
    assert b"/Type3" not in data
    assert b"CreationDate" not in data
    drawn = b"".join(_inflated(stream) for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL))
    assert b" Tj" in drawn or b" TJ" in drawn
    assert chart.pdf() == data


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_an_svg_has_its_size_and_its_text(printed: dict[str, Chart]) -> None:
    chart = printed["transfer"]
    svg = chart.svg()
    assert re.search(rf'<svg width="85.00mm" height="{chart.printed_size[1] * 25.4:.2f}mm" viewBox="0 0 ', svg)
    assert re.search(r"<text [^>]*DejaVu Sans[^>]*>source model</text>", svg)
    assert "<dc:date>" not in svg
    assert chart.svg() == svg


def test_a_png_has_300_pixels_an_inch_and_says_so(printed: dict[str, Chart]) -> None:
    chart = printed["transfer"]
    image = Image.open(io.BytesIO(chart.png(300)))
    assert image.width == pytest.approx(300 * 85 / 25.4, abs=1)
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_paper_has_no_grid_and_the_screen_has_one(tables: dict[str, pl.DataFrame]) -> None:
    screen = chart_of("histograms", tables)
    with sized("paper"):
        paper = chart_of("histograms", tables)
    assert "#e6e8eb" in screen.svg()
    assert "#e6e8eb" not in paper.svg()
    assert screen.get_size_inches().tolist() == paper.get_size_inches().tolist()


def test_files_are_the_same_in_another_process() -> None:
    script = """
import hashlib
from manifoldscope.report import Chart
from manifoldscope.report.sizing import sized
with sized("paper", "85mm"):
    chart = Chart(columns=3)
for axes in chart.flat:
    axes.set_title("αβγ of three")
print(hashlib.sha256(chart.pdf() + chart.svg().encode() + chart.png(100)).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def tall(rows: int, columns: int = 1, *, height: float = 2.0) -> Chart:
    with sized("paper", "85mm"):
        chart = Chart(rows=rows, columns=columns, width=4.0, height=height)
    for number, axes in enumerate(chart.flat):
        chart.explain(axes.scatter([0, 1], [0, 1]), ["a", f"panel {number}"])
    return chart


def heights(chart: Chart) -> list[float]:
    """Of its pages, in millimetres."""
    found = re.findall(rb"/MediaBox \[ 0 0 [\d.]+ ([\d.]+) \]", chart.pdf())
    return [float(each) / 72 * 25.4 for each in found]


def test_what_is_a_little_taller_than_a_page_becomes_lower() -> None:
    chart = tall(5, height=2.4)
    assert chart.n_pages == 1
    assert heights(chart) == pytest.approx([240], abs=0.1)


def test_what_is_much_taller_goes_on_on_further_pages_between_rows() -> None:
    chart = tall(4, 3)  # three panels of a row stand below each other
    assert chart.n_pages == 2
    assert all(height <= 240.1 for height in heights(chart))
    shown = [set(re.findall(r"panel \d+", chart.svg(page))) for page in range(chart.n_pages)]
    assert [len(those) for those in shown] == [6, 6]
    assert len(shown[0] | shown[1]) == 12
    for page in range(chart.n_pages):
        assert f'height="{heights(chart)[page]:.2f}mm"' in chart.svg(page)
        image = Image.open(io.BytesIO(chart.png(100, page)))
        assert image.height == pytest.approx(heights(chart)[page] / 25.4 * 100, abs=1.5)


def test_one_colour_bar_for_all_stands_on_every_page() -> None:
    chart = tall(12)
    bar = chart.add_axes((0.9, chart.flat[0].get_position().y0, 0.03, 0.05))
    bar.set_title("the scale")
    assert "the scale" not in chart.svg(1)
    chart = tall(12)
    chart.shared.append(chart.add_axes((0.9, chart.flat[0].get_position().y0, 0.03, 0.05)))
    chart.shared[0].set_title("the scale")
    assert all("the scale" in chart.svg(page) for page in range(chart.n_pages))


def test_panels_on_several_pages_say_their_network_layer_and_axes(sampled: dict[str, pl.DataFrame]) -> None:
    with sized("paper", "85mm"):
        chart = chart_of("curves", sampled)
    assert chart.n_pages > 1
    for axes in chart.flat:
        assert axes.get_ylabel()
        assert axes.get_xlabel()
        assert any(text.get_text().startswith("layer ") for text in axes.texts)
