"""Names in letters that the font of the figures lacks: by another font, or by what stands in their place."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from PIL import Image

from conftest import study_tables
from manifoldscope.report import Chart, draw, lettering
from manifoldscope.report.chart import plain
from manifoldscope.report.lettering import fonts_with, lacking, wide

NAMES = ("猫", "🦖 dino", "犬の長い名前がここにあります", "naïve", "βeta", "👩\u200d🚀️ pilot", "7", "авто")


@pytest.fixture
def font(tmp_path: Path) -> Iterator[str]:
    """A font of this machine with one letter, 猫, as a black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    builder.setupGlyf({".notdef": square, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (900, 0), "cat": (900, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Cats", "styleName": "Regular", "psName": "Cats-Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    path = tmp_path / "cats.ttf"
    builder.save(path)
    before = list(fontManager.ttflist)
    fontManager.addfont(path)
    yield "Cats"
    fontManager.ttflist = before


def test_letters_that_the_font_lacks_are_told_from_those_that_show_nothing() -> None:
    assert lacking("naïve βeta авто \u200d\ufe0f") == []
    assert lacking("a 猫 and a 猫, a 犬") == ["猫", "犬"]
    assert wide("犬の長い名") == pytest.approx(8.5)
    assert wide("naïve") == 5


def named(text: str) -> Chart:
    chart = Chart()
    (axes,) = chart.flat
    axes.set_xticks([0, 1], [text, "other"])
    axes.set_title(f"Title of {text}", fontweight="bold")
    chart.stand_ins = {"猫": "class 3"}
    return chart


def test_a_font_of_the_machine_that_has_the_letters_is_used(font: str) -> None:
    assert [entry.name for entry in fonts_with({"猫", "犬"})] == [font]
    chart, plain = named("猫"), named("a")
    pixels = [np.asarray(Image.open(io.BytesIO(each.png(100))).convert("L")) for each in (chart, plain)]
    assert (pixels[0] < 60).sum() > (pixels[1] < 60).sum() + 80  # two squares
    assert chart.unwritten == []
    assert b"Cats" in chart.pdf()
    assert "猫" in chart.svg()


def test_without_a_font_something_that_can_be_read_stands_in_its_place() -> None:
    chart = named("猫")
    assert chart.png(100) == named("class 3").png(100)
    assert chart.unwritten == ["猫"]
    assert chart.pdf() == named("class 3").pdf()
    assert "猫" in chart.svg()
    assert "class 3" not in chart.svg()
    assert named("犬").png(100) == named("U+72AC").png(100)


@pytest.mark.parametrize("name", ["قطة", "חתול", "हिन्दी"])
def test_a_script_that_matplotlib_would_write_in_the_wrong_order_is_not_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lettering, "SHAPES", False)  # as before matplotlib 3.11
    chart = named(name)
    chart.stand_ins = {name: "class 3"}
    assert chart.png(100) == named("class 3").png(100)
    assert chart.unwritten == [name]
    assert name in chart.svg()  # the reader's browser writes it


@pytest.mark.skipif(not lettering.SHAPES, reason="matplotlib before 3.11 has no shaping")
def test_names_from_right_to_left_are_written_as_they_are() -> None:
    assert lacking("قطة חתול") == []
    chart = named("قطة")
    chart.png(100)
    assert chart.unwritten == []


def test_names_of_wide_letters_are_cut_to_the_same_width() -> None:
    assert plain("犬の長い名前がここにあります", 14) == "犬の長い名前が…"
    assert plain("a name of narrow letters", 14) == "a name of nar…"
    assert wide(plain("犬の長い名前がここにあります", 14)) <= 14


def test_a_name_that_was_cut_is_replaced_as_a_whole() -> None:
    chart, expected = Chart(), Chart()
    chart.flat[0].set_title("from 犬の長い… on")
    chart.stand_ins = {"犬の長い名前": "class 12"}
    expected.flat[0].set_title("from class 12 on")
    assert chart.png(100) == expected.png(100)


def test_classes_are_written_by_their_numbers_and_no_warning_is_given() -> None:
    tables: dict[str, pl.DataFrame] = study_tables(len(NAMES), NAMES)
    (figure,) = draw("classes", tables)
    figure.chart.png(80)
    assert set(figure.chart.unwritten) >= {"猫", "🦖 dino", "犬の長い名前がここにあります"}
    assert not {"naïve", "βeta", "7", "авто"} & set(figure.chart.unwritten)
    assert set(figure.table["class_name"]) == set(NAMES)
    assert all(name in figure.chart.svg() for name in ("猫", "naïve"))
