"""Names of classes, networks, layers, attacks and files come from strangers: they are shown, and run nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.browser.conftest import Visit, Written
from tests.browser.made_up import HOSTILE, HOSTILE_SIZE


@pytest.fixture
def hostile(written: Callable[[str], Written], visit: Callable[..., Visit]) -> Iterator[Callable[..., Visit]]:
    """Opens the page; when the test is over, nothing of what the names say has run."""
    seen: list[Visit] = []

    def opened(address: str = "") -> Visit:
        seen.append(visit(written("hostile names").path, address))
        return seen[-1]

    yield opened
    for each in seen:
        assert each.page.evaluate("window.hacked") is None
        assert each.page.evaluate("({}).hacked") is None
        scripts = "[...document.querySelectorAll('script')].every((each) => each.closest('head, body > script, body'))"
        assert each.page.evaluate(scripts)
        strange = "[...document.querySelectorAll('*')].flatMap((each) => [...each.attributes]).filter((each) =>" + (
            " each.name.startsWith('on') || (/^(xlink:)?href|src|action$/.test(each.name)"
            " && /^\\s*javascript:/i.test(each.value))).map((each) => each.name + '=' + each.value)"
        )
        assert each.page.evaluate(strange) == []
        assert each.page.locator("img[src=x]").count() == 0


def test_every_view_and_every_choice_of_hostile_names_runs_nothing(hostile: Callable[..., Visit]) -> None:
    page = hostile().page
    lists = [page.locator(f"select[name={part}]") for part in ("network", "layer", "attack", "measure")]
    for turn, tab in enumerate(page.locator("[role=tab]").all()):
        tab.click()
        options = lists[turn % len(lists)]
        options.select_option(index=(int(options.input_value()) + 1) % options.locator("option").count())
    for options in lists:
        options.select_option(index=0)
    page.locator(".scatter [role=option]").first.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
    for tab in page.locator("[role=tab]").all():
        tab.click()
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")


def test_hostile_names_are_shown_as_they_are(hostile: Callable[..., Visit]) -> None:
    page = hostile().page
    assert HOSTILE_SIZE.name in page.title()
    assert HOSTILE_SIZE.question in page.locator("body").inner_text()
    assert page.locator("select[name=network] option").all_inner_texts() == list(HOSTILE_SIZE.networks)
    names = [name for name in dict.fromkeys(HOSTILE) if name != "same name"]
    for name in names:
        page.locator("[role=combobox]").fill(name[:40])
        assert name in page.locator("#found [role=option]").evaluate_all("(all) => all.map((each) => each.textContent)")


def test_a_link_with_a_hostile_name_shows_that_class_and_runs_nothing(hostile: Callable[..., Visit]) -> None:
    page = hostile(f"#class={quote(HOSTILE[0], safe='')}").page
    for name in HOSTILE[:10]:
        page.evaluate("(address) => { location.hash = address; }", f"class={quote(name, safe='')}")
        page.wait_for_selector(f"ul.chosen li button[aria-label*={json.dumps(name[:40], ensure_ascii=False)}]")
        assert page.locator("ul.chosen li").count() == 1
        assert name in str(page.locator("ul.chosen li").evaluate("(each) => each.textContent"))


def test_links_that_nobody_made_run_nothing(hostile: Callable[..., Visit]) -> None:
    for address in (
        "#<img src=x onerror=window.hacked=1>",
        "#%E0%A4%A",
        "#class=%E0%A4%A",
        "#javascript:window.hacked=1",
    ):
        hostile(address)


def test_two_classes_of_one_name_are_told_apart(hostile: Callable[..., Visit]) -> None:
    page = hostile().page
    while page.locator("ul.chosen button").count():
        page.locator("ul.chosen button").first.click()
    second = len(HOSTILE) - 1
    page.locator(f".scatter [role=option][data-key='{second}']").evaluate(
        "(point) => point.dispatchEvent(new MouseEvent('click', { bubbles: true }))"
    )
    again = hostile(page.evaluate("location.hash"))
    marked = again.page.locator(".scatter [role=option][aria-selected=true]")
    assert marked.evaluate_all("(all) => all.map((each) => each.dataset.key)") == [str(second)]
