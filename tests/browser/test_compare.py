"""The page of compared studies in a browser: it asks for nothing, and a class that is chosen lights up everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manifoldscope.report.compare import Studied, compare
from manifoldscope.report.compared_page import page
from manifoldscope.tables import conform
from tests.browser.conftest import Visit

NAMES = ["cat", "dog", "owl", "fox", '"><img src=x onerror=alert(1)>', "hen", "yak", "emu"]


def tables(shift: float) -> dict[str, Any]:
    """One network whose classes have these values."""
    geometry = [
        {
            "model": "cnn", "layer": "penultimate", "class_index": place, "class_name": name, "attack": "",
            "measure": "pca_dimension", "parameters": "fraction=0.95", "value": place + shift, "n_points": 40,
        }
        for place, name in enumerate(NAMES)
    ]  # fmt: skip
    robustness = [
        {
            "model": "cnn", "attack": "pgd", "parameters": "", "strength": 0.1, "iterate": "last", "class_index": place,
            "class_name": name, "n_images": 40, "n_clean_correct": 38, "n_robust": 4 * place + int(shift),
            "robust_accuracy": (4 * place + int(shift)) / 40,
        }
        for place, name in enumerate(NAMES)
    ]  # fmt: skip
    return {"geometry": conform("geometry", geometry), "robustness": conform("robustness", robustness)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "compare.html"
    studies = [Studied(name, {"name": name}, tables(shift)) for name, shift in (("one", 0.0), ("two", 1.0))]
    path.write_text(page(compare(studies)), encoding="utf-8")
    return path


@pytest.fixture
def opened(visit: Callable[..., Visit], written: Path) -> Callable[..., Any]:
    """The page at an address; fails where it complained, or asked for anything but itself."""

    def at(address: str = "", **settings: Any) -> Any:
        return visit(written, address, live=False, **settings).page

    return at


def lit(tab: Any) -> list[str]:
    """The classes that are lit up in the tables."""
    found: list[str] = tab.eval_on_selector_all("tr.on th", "cells => cells.map((cell) => cell.textContent)")
    return found


def test_a_click_lights_a_class_in_every_panel_and_table_and_the_address_says_so(opened: Any) -> None:
    tab = opened()
    assert lit(tab) == []
    tab.locator("svg.paired").nth(1).locator(".point[data-class='2'] circle").dispatch_event("click")
    assert lit(tab) == ["owl"]
    assert tab.locator("svg.paired").count() == tab.locator(".point.on").count() == 3
    assert tab.evaluate("new URLSearchParams(location.hash.slice(1)).getAll('class')") == ["owl"]
    tab.locator("tr[data-class='0']").click()
    assert lit(tab) == ["cat", "owl"]
    tab.get_by_role("button", name="let go of owl").click()
    assert lit(tab) == ["cat"]


def test_the_keyboard_alone_chooses(opened: Any) -> None:
    tab = opened()
    tab.locator("svg.paired .point").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert lit(tab) == ["dog"]
    assert tab.locator("svg.paired").first.locator("[tabindex='0']").count() == 1
    tab.locator("#class").fill("FO")
    tab.keyboard.press("Enter")
    assert lit(tab) == ["dog", "fox"]
    tab.locator("#class").fill("zebra")
    tab.keyboard.press("Enter")
    assert tab.locator(".said").inner_text() == "No class of this page is called “zebra”."
    tab.locator("#class").fill("fox")
    tab.keyboard.press("Enter")
    assert tab.locator(".said").inner_text() == "fox is chosen already."


def test_a_link_shows_what_one_saw_and_names_run_nothing(opened: Any) -> None:
    tab = opened("#class=hen&class=nothing&class=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E")
    assert set(lit(tab)) == {"hen", NAMES[4]}
    assert tab.locator("img").count() == 0
    assert tab.locator(".said").inner_text() == "The link names the class “nothing”, which this page does not have."


def test_a_seventh_class_lets_the_first_one_go_and_says_so(opened: Any) -> None:
    tab = opened(f"#{'&'.join(f'class={name}' for name in ('emu', 'yak', 'hen', 'fox', 'owl', 'dog', 'cat'))}")
    assert set(lit(tab)) == {"emu", "yak", "hen", "fox", "owl", "dog"}
    said = tab.locator(".said").inner_text()
    assert said == "The link names 7 classes; the first 6 are shown, the most that can be chosen."
    tab.locator("tr[data-class='0']").click()
    assert "cat" in lit(tab)
    assert "emu" not in lit(tab)
    assert tab.locator(".said").inner_text() == "6 classes at most: emu was let go."


def test_back_undoes_a_choice_and_a_link_of_the_page_keeps_it(opened: Any) -> None:
    tab = opened("#class=owl")
    tab.locator("tr[data-class='0']").click()
    tab.locator(".skip").focus()
    tab.keyboard.press("Enter")
    assert lit(tab) == ["cat", "owl"]
    tab.go_back()
    assert lit(tab) == ["owl"]
    tab.go_forward()
    assert lit(tab) == ["cat", "owl"]


def test_points_at_one_place_can_each_be_chosen_by_the_mouse(opened: Any) -> None:
    tab = opened()
    clean = tab.locator("svg.paired").nth(1)  # all clean accuracies are the same
    for place in range(len(NAMES)):
        clean.locator(f".point[data-class='{place}'] circle").click()
        assert clean.locator(f".point[data-class='{place}'].on").count() == 1


def test_without_scripts_the_page_is_whole(opened: Any) -> None:
    tab = opened(java_script_enabled=False)
    assert tab.locator("svg.paired .point").count() == 3 * len(NAMES)
    assert tab.locator("tr[data-class]").count() == len(NAMES)
    assert not tab.locator(".chooser").is_visible()
