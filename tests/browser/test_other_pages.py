"""The page of a study that was run, the one of studies side by side, and the small one of a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from manifoldscope import api
from manifoldscope.report import FIGURES, compared_page, measured
from manifoldscope.report.compare import Studied, compare
from manifoldscope.report.small import small_page
from manifoldscope.study.progress import Progress
from tests.browser.conftest import AXE, DRAWN, Visit
from tests.browser.made_up import HOSTILE, ORDINARY, Size, tables_of
from tests.browser.test_accessible import violations
from tests.browser.test_choosing import POINT, chosen
from tests.browser.test_quiet import inks, tabs
from tests.study import tiny


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small study of digits: real images, networks, attacks and associations."""
    data = tiny.raw()["data"] | {"classes": [0, 1, 3, 4, 7]}
    with pytest.MonkeyPatch.context() as patch:
        assert set(DRAWN) <= set(FIGURES.names())
        patch.setattr(FIGURES, "_entries", {each: FIGURES[each] for each in DRAWN})
        out = tmp_path_factory.mktemp("runs") / "digits"
        return api.run(tiny.study(data=data), out=out, progress=Progress(quiet=True)).folder / "report.html"


def test_the_page_of_a_study_of_digits_shows_its_images_and_numbers(digits: Path, visit: Callable[..., Visit]) -> None:
    seen = visit(digits, "#class=7&network=adversarial&layer=penultimate&strength=0.1&view=card")
    page = seen.page
    assert chosen(page) == ["7"]
    values = pl.read_parquet(digits.parent / "tables" / "geometry.parquet").filter(
        pl.col("model") == "adversarial", pl.col("layer") == "penultimate", pl.col("measure") == "pca_dimension"
    )
    assert page.locator(POINT).count() == values["value"].is_finite().sum() == 5
    for view in tabs(page):
        assert all(each > 1 for each in inks(page, f"[data-view={view}]")), f"{view} is blank"
    page.locator("[role=tab]").first.click()
    pictures = page.locator("[data-view=card] img").evaluate_all("(all) => all.map((each) => each.naturalWidth)")
    assert pictures
    assert min(pictures) > 0


def audited(page: Any) -> list[str]:
    """What axe-core finds; nothing where it is not installed."""
    if not AXE.exists():
        return []
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    return violations(page)


def studied(name: str, size: Size) -> Studied:
    return Studied(name, {"name": name, "question": size.question}, tables_of(size))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies side by side, one of them with hostile names."""
    names = ORDINARY.classes[:4] + HOSTILE[:6]
    first = Size(classes=names, networks=HOSTILE[:2], question=HOSTILE[0])
    second = Size(classes=names[::-1], networks=HOSTILE[:2], seed=1)
    file = tmp_path_factory.mktemp("compared") / "compared.html"
    both = [studied(HOSTILE[1], first), studied(HOSTILE[3], second)]
    file.write_text(compared_page.page(compare(both)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small page of a recording with hostile names."""
    n = len(HOSTILE)
    table = pl.DataFrame(
        {
            "label": HOSTILE,
            "other": pl.Series([None] * n, dtype=pl.String),
            "measure": ["participation_ratio"] * n,
            "parameters": [""] * n,
            "value": [4.0 + place for place in range(n)],
            "stderr": [0.5] * n,
            "ceiling": [59.0] * n,
            "null": [20.0] * n,
            "null_p": [0.05] * n,
            "n_points": [60] * n,
            "n_features": [120] * n,
            "describes_sample": [False] * n,
            "note": [HOSTILE[0]] * n,
        }
    )
    file = tmp_path_factory.mktemp("small") / "small.html"
    text = small_page(
        kind="manifoldscope measure", title=HOSTILE[1], about=[(HOSTILE[0], HOSTILE[3])], cautions=[HOSTILE[0]],
        parts=measured.measured_parts(table), table=table, row="one value", command=HOSTILE[0], versions={"a": "1"},
    )  # fmt: skip
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("which", ["compared", "recording"])
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_other_pages_are_quiet_fit_the_window_and_keep_nobody_out(
    request: pytest.FixtureRequest, visit: Callable[..., Visit], which: str, width: int, scheme: str
) -> None:
    path = request.getfixturevalue(which)
    page = visit(path, width=width, live=False).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None
    shown = inks(page, "body")
    assert shown
    assert min(shown) > 1
    assert HOSTILE[1] in page.locator("body").inner_text()
    bare = visit(path, width=width, live=False, color_scheme=scheme, bypass_csp=True).page
    assert audited(bare) == []
