"""The small pages of `measure` and `associate`: what is on them, and what they keep out."""

from __future__ import annotations

import base64
import html
import math
import re

import numpy as np
import polars as pl
import pytest

from manifoldscope.evidence import associate_frame
from manifoldscope.report import associated, measured
from manifoldscope.report.document import digest
from manifoldscope.report.small import MARK, Part, small_page
from manifoldscope.seeds import numpy_generator

NAMES = ["face", "house", "tool", "<script>alert(1)</script>"]


def table(names=NAMES, **columns):
    """As `recordings.measured` returns it: one measure of each class."""
    n = len(names)
    rows = {
        "label": names,
        "other": pl.Series([None] * n, dtype=pl.String),
        "measure": ["participation_ratio"] * n,
        "parameters": [""] * n,
        "value": [float(4 + place) for place in range(n)],
        "stderr": [0.5] * n,
        "ceiling": [59.0] * n,
        "null": [20.0] * n,
        "null_p": [0.05] * n,
        "n_points": [60] * n,
        "n_features": [120] * n,
        "describes_sample": [False] * n,
        "note": [""] * n,
    }
    return pl.DataFrame(rows | columns)


def page(parts=(), given=None, **changes):
    arguments = {
        "kind": "manifoldscope measure",
        "title": "spikes & <b>trials</b>.npy",
        "about": [("File", "spikes.npy"), ("Labels", "")],
        "cautions": ["few points"],
        "parts": parts,
        "table": table() if given is None else given,
        "row": "one value",
        "command": "manifoldscope measure 'spikes & <b>trials</b>.npy'",
        "versions": {"manifoldscope": "1.2.3"},
    }
    return small_page(**arguments | changes)


def marks(drawing):
    """The texts of the points of a drawing, in order."""
    return [text for texts in drawing.chart.tooltips.values() for text in texts]


def test_the_policy_names_the_style_and_forbids_everything_else():
    text = page(measured.measured_parts(table()))
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1))
    assert policy == f"default-src 'none'; style-src '{digest(style)}'; img-src data:"
    assert digest("") == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # of nothing, as is well known
    assert " style=" not in text  # it would be refused
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert MARK in text[:500]


def test_names_of_files_and_classes_are_text():
    text = page(measured.measured_parts(table()))
    assert "spikes &amp; &lt;b&gt;trials&lt;/b&gt;.npy" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>trials" not in text


def test_the_table_is_whole_for_downloading_and_leaves_out_empty_columns():
    given = table(note=[""] * 4)
    text = page(given=given)
    encoded = re.search(r"base64,([^\"]+)\"", text).group(1)
    assert base64.b64decode(encoded).decode() == given.write_csv()
    head = re.search(r"<thead>.*?</thead>", text).group()
    assert "stderr" in head
    assert "note" not in head
    assert "other" not in head
    assert "few points" in text
    assert "Labels" not in text


def test_a_mark_of_each_class_tells_its_numbers_with_the_ceiling_and_chance():
    (part,) = measured.measured_parts(table(), meanings={"participation_ratio": "How many."})
    (drawing,) = part.drawings
    assert marks(drawing)[0] == "face: Participation ratio 4 (standard error 0.5, ceiling 59, at chance 20)"
    assert len(marks(drawing)) == 4
    assert drawing.caption.startswith("How many. Ceiling 59")
    assert "standard errors" in part.text
    assert "Hollow" not in part.text
    (hollow,) = measured.measured_parts(table(describes_sample=[True] * 4))
    assert "Hollow" in hollow.text


@pytest.mark.parametrize("n", [1, 40, 41, 1000])
def test_any_number_of_classes_is_drawn_within_bounds(n):
    (part,) = measured.measured_parts(table([f"class {place}" for place in range(n)]))
    (drawing,) = part.drawings
    width, height = drawing.chart.get_size_inches()
    assert width <= 4
    assert height <= 9.5
    assert len(marks(drawing)) == n


def test_values_that_are_missing_are_told_and_not_drawn():
    given = table(value=[1.0, math.nan, 2.0, 3.0], note=["", "too few points", "", ""])
    (part,) = measured.measured_parts(given)
    assert len(marks(part.drawings[0])) == 3
    assert "1 of 4 values could not be given: too few points." in measured.cautions(given)


def test_few_and_unequal_points_are_reasons_for_caution():
    said = " ".join(measured.cautions(table(n_points=[60, 60, 12, 60], describes_sample=[True, False, False, False])))
    assert "Fewer than 20 points of tool (12)" in said
    assert "12 to 60 points" in said
    assert "1 of 4 values describe the sample" in said
    assert measured.cautions(table()) == []


def test_pairs_become_a_matrix_and_steps_become_lines():
    pairs = table(["a", "a", "b"], other=["b", "c", "c"], measure=["centroid_distance"] * 3, value=[1.0, 2.0, 3.0])
    (part,) = measured.measured_parts(pairs)
    assert part.title == "Between classes"
    matrix = np.asarray(part.drawings[0].chart.flat[0].images[0].get_array())
    np.testing.assert_array_equal(matrix[0], [np.nan, 1.0, 2.0])
    np.testing.assert_array_equal(matrix, matrix.T)
    steps = pl.concat([table().with_columns(time=pl.lit(at)) for at in range(3)])
    (part,) = measured.measured_parts(steps, axes=["time"])
    assert part.title == "Along time"
    assert len(part.drawings[0].chart.flat[0].get_lines()) == len(NAMES)


def test_a_spectrum_says_where_it_reaches_its_variance():
    part = measured.spectra_part({"a": np.array([90.0, 6.0, 4.0]), "b": np.ones(10)}, {"a": 20, "b": 30})
    svg = part.drawings[0].chart.svg()
    assert "a: 95% at 2" in svg
    assert "b: 95% at 10" in svg
    assert "10%" in svg
    assert "$" not in svg  # matplotlib's own labels of powers are formulas, which are not set here
    assert "20 to 30 points each" in part.drawings[0].caption


def pairs_of(n=12):
    x = numpy_generator(0, "small page").normal(size=n)
    groups = ["one", "two"] * (n // 2)
    return pl.DataFrame({"name": [f"p{place}" for place in range(n)], "x": x, "y": 2 - 3 * x, "group": groups})


def test_a_scatter_has_the_line_and_the_words_of_the_fact():
    frame = pairs_of()
    found = associate_frame(frame, "x", "y")
    (part,) = associated.associated_parts(frame, found, x=["x"], y=["y"])
    (drawing,) = part.drawings
    (line,) = drawing.chart.flat[0].get_lines()
    at, height = line.get_xdata(), line.get_ydata()
    np.testing.assert_allclose(height, 2 - 3 * np.asarray(at), atol=1e-9)  # rounding
    p = found["p_value"][0]
    assert f"Pearson r = −1.00 (95%: −1.00 to −1.00), p = {p:.2g}" in drawing.caption
    assert "Over 12 pairs." in drawing.caption
    assert marks(drawing)[0].startswith("p0: ")


def test_groups_are_drawn_apart_and_together():
    frame = pairs_of()
    found = associate_frame(frame, "x", "y", by="group", pooled=True)
    (part,) = associated.associated_parts(frame, found, x=["x"], y=["y"], by="group")
    titles = ["y against x, all groups", "y against x, group one", "y against x, group two"]
    assert [drawing.title for drawing in part.drawings] == titles
    assert "Over all: Pearson" in part.drawings[0].caption
    assert "With the means of groups removed: Pearson" in part.drawings[0].caption
    assert [len(marks(drawing)) for drawing in part.drawings] == [12, 6, 6]


def test_what_rests_on_one_pair_has_no_line():
    frame = pl.DataFrame({"x": [1.0, 1.0, 1.0, 1.0, 5.0], "y": [1.0, 2.0, 3.0, 4.0, 9.0]})
    (part,) = associated.associated_parts(frame, associate_frame(frame, "x", "y"), x=["x"], y=["y"])
    assert part.drawings[0].chart.flat[0].get_lines() == []
    assert "All but 1 share one value across: a coefficient rests on it alone." in part.drawings[0].caption


def test_how_little_a_few_pairs_can_show_is_said():
    said = associated.cautions(associate_frame(pairs_of(10), "x", "y").to_dicts())
    assert "With 10 pairs only |r| above about 0.79" in said[0]  # Fisher's z: see `smallest_detectable`
    assert said[-1].startswith("An association is not a cause")


def long_table(n_classes=6, strengths=(0.1, 0.2, 0.3)):
    random = numpy_generator(0, "long table")
    sizes = random.normal(size=n_classes)
    return pl.DataFrame(
        {
            "class_name": [f"c{place}" for place in range(n_classes) for _ in strengths],
            "epsilon": [strength for _ in range(n_classes) for strength in strengths],
            "size": [float(size) for size in sizes for _ in strengths],
            "speed": random.normal(size=n_classes * len(strengths)),
        }
    )


def test_rows_that_repeat_a_class_are_said_to_depend_on_each_other_with_the_option_that_helps():
    long = long_table()
    said = associated.dependence(long, x=["size"], y=["speed"])
    assert said.startswith(
        "18 rows are of 6 different values of 'class_name': rows of the same one are not independent"
    )
    assert "--cells epsilon --key class_name" in said
    assert associated.dependence(long, x=["size"], y=["speed"], by="epsilon") == ""
    varying = long.with_columns(size=pl.Series(numpy_generator(1, "sizes").normal(size=18)))
    assert "Relate each epsilon apart by --by epsilon." in associated.dependence(varying, x=["size"], y=["speed"])
    twice = pl.concat([long, long])
    assert "Give one row per class_name" in associated.dependence(twice, x=["size"], y=["speed"])
    assert "18 rows of one" not in said
    assert "12 rows of one epsilon are of 6" in associated.dependence(twice, x=["size"], y=["speed"], by="epsilon")
    renamed = long.rename({"class_name": "what"})
    assert "--cells epsilon --key what" in associated.dependence(renamed, x=["size"], y=["speed"])


def test_measured_values_that_repeat_show_it_without_a_name_and_counts_do_not():
    bare = long_table().select("size", "speed")
    assert "size has 6 different values in 18 rows" in associated.dependence(bare, x=["size"], y=["speed"])
    counts = bare.with_columns(size=pl.Series([float(place % 5) for place in range(18)]))
    assert associated.dependence(counts, x=["size"], y=["speed"]) == ""
    assert associated.dependence(long_table(strengths=(0.1,)), x=["size"], y=["speed"]) == ""
    apart = pl.DataFrame({"model": ["a", "b"] * 5, "size": range(10), "speed": range(10)})
    assert "--by model" in associated.dependence(apart, x=["size"], y=["speed"])


def test_labels_beside_a_spectrum_are_whole():
    spectra = {name: np.array([1.0, 0.1, 1e-3, 1e-6, 1e-8]) for name in "ab"}
    (drawing,) = measured.spectra_part(spectra, {"a": 20, "b": 20}).drawings
    drawing.chart.png(80)
    (panel,) = drawing.chart.flat
    box = panel.get_tightbbox(drawing.chart._get_renderer())
    assert box.x0 >= 0
    assert box.x1 <= drawing.chart.bbox.width
    assert not any("e-" in label.get_text() for label in panel.get_yticklabels())


def test_a_long_name_of_a_measure_is_whole_below_its_axis():
    given = table(names=("a very long name of a class",) * 4, measure=["participation_ratio_corrected"] * 4)
    (drawing,) = measured.measured_parts(given)[0].drawings
    drawing.chart.png(80)
    label = drawing.chart.flat[0].xaxis.label.get_window_extent(drawing.chart._get_renderer())
    assert label.x0 >= 0
    assert label.x1 <= drawing.chart.bbox.width


def test_the_same_page_is_made_twice():
    assert page(measured.measured_parts(table())) == page(measured.measured_parts(table()))
    assert page([Part("Nothing", "", [])])
