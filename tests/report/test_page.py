"""The page: self-contained, honest about what is missing, safe with hostile names, and the same every time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from conftest import FINDINGS, arguments, other_tables, sampled_tables, study_pictures, study_tables, written
from manifoldscope.report import FIGURES, Chart, Contents, Figure, Finding, Section, diagnose, render
from manifoldscope.report import page as report_page
from manifoldscope.report.explore.view import WEB
from manifoldscope.report.page import STYLES
from manifoldscope.tables import TABLES

HOSTILE = (
    '<script>alert("1")</script>',
    '"><img src=x onerror=alert(2)>',
    "$\\frac{1}",
    "雪",
    "a & b",
    "nul\x00\x1b",
    "x" * 90,
)


def small(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """One network, one layer, one measure and two strengths: quick to draw."""
    keep = {"model": ["standard"], "layer": ["flatten"], "measure": ["pca_dimension"], "strength": [0.0, 0.1]}
    for column, values in keep.items():
        tables = {
            name: table.filter(pl.col(column).is_in(values) | pl.col(column).is_null())
            if column in table.columns
            else table
            for name, table in tables.items()
        }
    return tables


class Page(HTMLParser):
    """What a browser would find: tags, ids, references and text outside scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._inside = ""
        self.source = path.read_text(encoding="utf-8")
        self.without_scripts = re.sub(r"<script.*?</script>", "", self.source, flags=re.DOTALL)
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src", "action", "data", "srcset", "poster"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page(report)


def test_the_page_loads_nothing_from_outside(page: Page) -> None:
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    without_data = re.sub(r'"data:[^"]*"', "", page.without_scripts)
    assert not re.search(r"//\w", without_data)
    assert "@import" not in without_data
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)


def test_ids_are_unique_and_every_reference_inside_the_page_has_its_target(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    inner = {reference[1:] for reference in page.references if reference.startswith("#")}
    inner |= set(re.findall(r"url\(#([^)]+)\)", page.without_scripts))
    inner |= {value for name, value in page.attributes if name == "aria-labelledby"}
    assert inner <= set(page.ids)


def test_every_inline_figure_is_on_disk(report: Path, page: Page) -> None:
    files = list((report.parent / "figures").iterdir())
    assert {path.suffix for path in files} == {".svg", ".parquet"}
    assert len(files) / 2 == page.tags.count("svg") == page.tags.count("figure") == 17


def test_what_figures_take_in_the_page_is_bounded_tables_and_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    def of_figures(text: str) -> int:
        return sum(len(part.encode()) for part in re.findall(r"<figure.*?</figure>", text, re.DOTALL))

    most = of_figures(page.source) // 4
    monkeypatch.setattr("manifoldscope.report.page.FIGURE_BYTES", most)
    bounded = Page(written(tmp_path, **arguments()))
    left_out = bounded.text.count("too large with this drawing")
    assert 0 < left_out < bounded.tags.count("figure") == page.tags.count("figure")
    assert of_figures(bounded.source) < most + 5_000 * bounded.tags.count("figure")  # captions, and three rows of each
    assert len(list((tmp_path / "figures").glob("*.svg"))) == bounded.tags.count("figure")


def test_every_file_that_a_page_names_is_there_and_holds_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Path
) -> None:
    monkeypatch.setattr("manifoldscope.report.page.FIGURE_BYTES", 60_000)
    for wanted in (None, {"networks": ["standard"]}):
        page = Page(written(tmp_path, **arguments(wanted=wanted)))
        named = set(re.findall(r"figures/\S+\.(?:svg|parquet)", page.text))
        assert {Path(name).suffix for name in named} == {".svg", ".parquet"}
        for name in named:  # as the page with everything in it has them
            assert (tmp_path / name).read_bytes() == (report.parent / name).read_bytes()
        counted = re.findall(r"first \d+ of (\S+) rows. All of them: (figures/\S+\.parquet)", page.text)
        assert counted
        for n_rows, name in counted:
            assert pl.read_parquet(tmp_path / name).height == int(n_rows.replace("\u202f", ""))


def test_tables_figures_and_code_scroll_in_boxes_of_their_own(page: Page) -> None:
    for box, inside in (("scroll", "table"), ("chart", "svg")):
        boxed = re.findall(rf'<div class="{box}"[^>]*>\s*<{inside}', page.source)
        assert len(boxed) == page.source.count(f"<{inside}") > 0
        (style,) = re.findall(rf"^\.{box} {{(.*)}}$", page.source, re.M)
        assert re.search(r"overflow(-x)?: auto", style)
    assert re.search(r"^body {.*overflow-wrap: anywhere", page.source, re.M)  # no name is wider than a phone


def test_every_class_that_a_style_sheet_names_is_given_to_something() -> None:
    files = [path for end in ("html", "js", "py") for path in Path(report_page.__file__).parent.rglob(f"*.{end}")]
    given = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for sheet in STYLES:
        rules = re.sub(r"@media[^{]*|{[^{}]*}", "", (WEB / sheet).read_text(encoding="utf-8"))
        named = set(re.findall(r"\.([a-z][a-z0-9-]*)", rules))
        assert named
        assert {name for name in named if not re.search(rf"(?<![\w-]){name}(?![\w-])", given)} == set(), sheet


def test_figures_are_named_for_those_who_cannot_see_them(page: Page) -> None:
    labels = [value for name, value in page.attributes if name == "aria-label" and value.startswith("Figure ")]
    assert len(labels) + 1 == page.tags.count("svg")  # the central one, which has no number


def test_the_answer_shows_titles_doubts_and_numbers_by_falling_weight(tmp_path: Path, page: Page) -> None:
    for finding in FINDINGS:
        assert finding.title in page.text
        assert all(caveat in page.text for caveat in finding.caveats)
    turned = written(tmp_path, **arguments(findings=FINDINGS[::-1], tables={}, pictures=[])).read_text("utf-8")
    places = [turned.index(finding.title) for finding in FINDINGS]
    assert places == sorted(places)
    assert "−0.41" in turned


def test_real_findings_are_shown(tmp_path: Path) -> None:
    findings = diagnose(study_tables())
    page = Page(written(tmp_path, **arguments(findings=findings, tables={}, pictures=[])))
    assert findings
    assert all(finding.title in page.text for finding in findings)


def test_checks_skipped_images_and_failed_units_are_named(tmp_path: Path) -> None:
    failed = ["robustness standard pgd 0.3: NaN in the logits"]
    tables = {name: table for name, table in study_tables().items() if name in ("checks", "skipped_images")}
    page = Page(written(tmp_path, **arguments(tables=tables, pictures=[], failed=failed)))
    assert "Flagged: vanishing gradient" in page.text
    assert "84 of 400 images" in page.text
    assert "8 of 12 checks passed" in page.text
    assert "3 could not be decided" in page.text
    assert "digits/test/0417.png" in page.text
    assert "truncated: 211 of 780 bytes" in page.text
    assert failed[0] in page.text
    assert "This study is incomplete" in page.text


def test_empty_tables_give_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    page = Page(written(tmp_path, **arguments(tables={}, pictures=[], findings=[], study={}, versions={})))
    for sentence in (
        "No conclusion could be drawn",
        "no class has a value in the table geometry",
        "the table robustness has no rows",
        "no spectra were saved",
        "no correlations were saved",
        "no adversarial examples were saved",
        "No checks were run",
        "The study file was not given",
    ):
        assert sentence in page.text
    assert page.tags.count("svg") == 0


def test_what_a_study_did_not_ask_for_is_not_missed(page: Page) -> None:
    for absent in ("figures-pairs", "figures-displacement", "figures-curves", "figures-reliability", "table-curves"):
        assert absent not in page.ids
    assert "null_p" not in page.text
    assert "Mantel" not in page.text


def test_pairs_displacements_curves_and_reliabilities_are_shown_where_there_are_any(tmp_path: Path) -> None:
    everything = sampled_tables(5)
    tables = small(everything) | {
        name: everything[name].filter((pl.col("model") == "standard") & (pl.col("layer") == "flatten"))
        for name in ("geometry", "pairs", "curves", "reliability")
    }
    findings = diagnose(tables)
    page = Page(written(tmp_path, **arguments(tables=tables, pictures=[], findings=findings)))
    for section in ("transfer", "convergence", "training"):
        assert f"figures-{section}" in page.ids
    for present in ("figures-pairs", "figures-displacement", "figures-curves", "figures-reliability", "table-curves"):
        assert present in page.ids
    assert "pairs that share a class are not independent" in page.text
    assert "A share says nothing alone" in page.text
    assert "null_p" in page.text
    assert "Mantel" in page.text
    names = {path.name.split("--")[0] for path in (tmp_path / "figures").glob("*.svg")}
    assert {"pairs", "displacement", "curves", "reliability.svg", "transfer"} <= names
    assert {"convergence.svg", "training.svg"} <= names
    assert list(render(**arguments(tables={}, pictures=[]))) == ["report.html"]


def test_other_datasets_are_shown_with_their_findings_where_there_are_any(tmp_path: Path, page: Page) -> None:
    for absent in ("figures-shifts", "figures-ood", "table-shifts", "table-ood"):
        assert absent not in page.ids
    assert "AUROC" not in page.text
    tables = other_tables(4) | {"models": study_tables(4)["models"]}
    shown = Page(written(tmp_path, **arguments(tables=tables, pictures=[], findings=diagnose(tables))))
    for present in ("figures-shifts", "figures-ood", "table-shifts", "table-ood"):
        assert present in shown.ids
    for sentence in (
        "Accuracy on photographs beside clean accuracy",
        "Images of clothes are detected as OOD with AUROCs of",
        "they say nothing of other OOD datasets",
        "30 images of photographs",
        "200 images of clothes has a higher OOD score than one of 400 in-distribution",
    ):
        assert sentence in " ".join(shown.text.split())
    assert list(render(**arguments(tables={}, pictures=[]))) == ["report.html"]


def test_a_table_that_is_filled_where_it_is_asked_for_is_not_missed_and_every_other_is(tmp_path: Path) -> None:
    page = Page(written(tmp_path, **arguments(tables={}, pictures=[])))
    shown = {name for name in TABLES if f"table-{name}" in page.ids}
    assert shown == {name for name, schema in TABLES.items() if not schema.optional}
    assert {"geometry", "robustness", "associations", "checks"} <= shown


@pytest.fixture
def own_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a file outside the package: one in a section of its own, one that has nothing to show."""
    monkeypatch.setattr(FIGURES, "_entries", dict(FIGURES._entries))
    section = Section(
        "sizes", "How large are the networks?", place=65, terms={"Parameter": "A number that is trained."}
    )

    @FIGURES.register("sizes", section=section)
    def sizes(contents: Contents) -> Iterator[Figure]:
        """The number of parameters of each network."""
        table = contents.tables["models"].select("model", "n_parameters")
        for name in ("sizes", "sizes"):
            chart = Chart(width=4)
            chart.flat[0].barh(table["model"].to_list(), table["n_parameters"].to_list())
            yield Figure(name, "Size of the networks", "Each bar is a network.", chart, table)

    @FIGURES.register("speeds", section=Section("speeds", "How fast are they?", place=66), missing="nobody timed them")
    def speeds(contents: Contents) -> list[Figure]:
        """The time that each takes."""
        return []


@pytest.mark.usefixtures("own_figures")
def test_a_figure_of_ones_own_stands_in_the_page_and_the_folder_at_its_place(tmp_path: Path) -> None:
    tables = {"models": study_tables()["models"]}
    page = Page(written(tmp_path, **arguments(tables=tables, pictures=[])))
    places = [page.ids.index(f"figures-{name}") for name in ("comparison", "sizes", "speeds", "histograms")]
    assert places == sorted(places)
    for sentence in ("Figure 1. Size of the networks", "Each bar is a network.", "A number that is trained."):
        assert sentence in page.text
    assert "Not drawn: nobody timed them." in page.text
    files = sorted(path.name for path in (tmp_path / "figures").glob("*.svg"))
    assert files == ["sizes--2.svg", "sizes.svg"]  # the second is lost no more than its table
    assert "sizes--2.csv" in page.source


def test_falls_into_classes_that_are_not_studied_are_said_to_be_missing(tmp_path: Path) -> None:
    tables = small(sampled_tables(6))
    pairs = sampled_tables(6)["pairs"].filter(
        (pl.col("model") == "standard")
        & (pl.col("layer") == "flatten")
        & (pl.col("measure") == "centroid_distance")
        & (pl.col("other_class_index") < 5)
    )
    page = Page(written(tmp_path, **arguments(tables=tables | {"pairs": pairs}, pictures=[])))
    assert re.search(r"Of all these images \d+% were taken for classes that are not in this study", page.text)


@pytest.mark.parametrize("left_out", ["geometry", "robustness", "associations", "models"])
def test_one_missing_table_costs_only_its_own_figures(tmp_path: Path, left_out: str) -> None:
    tables = {name: table for name, table in small(study_tables(3)).items() if name != left_out}
    page = Page(written(tmp_path, **arguments(tables=tables, pictures=[])))
    drawn = {"geometry": 2, "robustness": 2, "associations": 6, "models": 7}
    assert page.tags.count("svg") == drawn[left_out]


def test_hostile_names_are_shown_and_never_run(tmp_path: Path) -> None:
    finding = Finding("association", HOSTILE[0], HOSTILE[1], (HOSTILE[0],), ({HOSTILE[0]: HOSTILE[1]},), 1.0)
    tables = small(study_tables(len(HOSTILE), HOSTILE))
    tables = {
        name: table.with_columns(pl.col("model").replace("standard", HOSTILE[1])) if "model" in table.columns else table
        for name, table in tables.items()
    }
    everything = arguments(
        tables=tables,
        pictures=study_pictures(len(HOSTILE), HOSTILE),
        findings=[finding],
        rerun=f"run {HOSTILE[0]}",
        study_text=HOSTILE[0],
        versions={HOSTILE[0]: HOSTILE[1]},
        failed=[HOSTILE[1]],
        study={"name": HOSTILE[0], "question": HOSTILE[1], "layers": [HOSTILE[0]]},
    )
    page = Page(written(tmp_path, **everything))
    assert page.tags.count("script") == 2  # one of them holds the facts
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert len(page.ids) == len(set(page.ids))
    assert "accuracy" in page.text
    for name in (HOSTILE[0], "雪", "a & b"):
        assert name in page.text


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, report: Path) -> None:
    again = written(tmp_path, **arguments())
    files = sorted(path.relative_to(report.parent) for path in report.parent.rglob("*.*") if path.is_file())
    assert files == sorted(path.relative_to(again.parent) for path in again.parent.rglob("*.*") if path.is_file())
    for name in files:
        assert (report.parent / name).read_bytes() == (again.parent / name).read_bytes(), name


def test_a_small_study_makes_a_small_page(report: Path) -> None:
    assert report.stat().st_size < 3_000_000


def test_a_selection_says_what_it_holds_and_how_to_make_others(tmp_path: Path, report: Path) -> None:
    wanted = {"networks": ["standard"], "measures": ["pca_dimension fraction=0.95"], "classes": ["1,7"]}
    page = Page(written(tmp_path, **arguments(tables=small(study_tables()), wanted=wanted, pictures=[])))
    text = " ".join(page.text.split())
    said = (
        "This page is a selection: the part to explore holds the network standard, the measure PCA dimension (95% "
        "of variance) and the classes 1 and 7."
    )
    assert 0 < text.lower().index(said.lower()) < text.index("How sure is that?")
    assert "manifoldscope report DIR --select PART=NAME,NAME" in text
    assert "whose own page is report.html" in text
    assert "<title>digits, a selection: manifoldscope</title>" in page.source
    assert "This page is a selection" not in report.read_text(encoding="utf-8")


def test_long_tables_are_capped_with_a_note_and_no_csv(tmp_path: Path) -> None:
    one = study_tables(2)["outcomes"]
    outcomes = pl.concat([one.with_columns(pl.col("image") + f"/{copy}") for copy in range(30)])
    page = Page(written(tmp_path, **arguments(tables={"outcomes": outcomes}, pictures=[])))
    assert "The first 200 of 10\u202f800 rows. All of them: tables/outcomes.parquet" in " ".join(page.text.split(" "))
    assert page.source.count("<tr>") < 260
    assert 'download="outcomes.csv"' not in page.source
