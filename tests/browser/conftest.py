"""A real browser, the pages it opens, and what no page may do: complain, ask for anything, or break its own policy."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from manifoldscope.report import FIGURES
from manifoldscope.report import page as report_page
from tests.browser import made_up

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-unsafe-swiftshader",
)  # fmt: skip
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
DRAWN = ("central", "examples")
"""The figures that made-up pages are written with: each has tests of its own, and all of them take long to draw."""

ROWS = 20
"""Rows of a table in a made-up page, but in the one that is measured: long tables take the longest to load."""

UNFOLD = """async (part) => {
  for (const each of part.querySelectorAll('details')) each.open = true;
  await new Promise((done) => setTimeout(done));  // a table behind a picture is drawn when it is unfolded
  for (const row of part.querySelectorAll('table:not(.matrix) tbody tr:nth-child(n+9)')) row.remove();
}"""
"""Opens what is folded; of tables the first rows stay, since the others are alike and take the longest to look at."""

SCROLLED = """() => new Promise((done) => {
  let [last, still] = [-1, 0];
  const look = () => {
    still = scrollY === last ? still + 1 : 0;
    last = scrollY;
    if (still > 8) done();
    else requestAnimationFrame(look);
  };
  look();
})"""
"""Waits until the page has stopped to scroll."""

POLICY = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));"""


MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a sentence with a figure that was measured; all are printed after the tests."""
    return request.config.stash.setdefault(MEASURED, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured."""
    for sentence in config.stash.get(MEASURED, []):
        terminalreporter.write_line(f"measured: {sentence}")


def program() -> str | None:
    """The browser that is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def pytest_runtest_setup() -> None:
    """Skip all tests of this folder for one reason, which is printed once."""
    if find_spec("playwright") is None:
        pytest.skip("browser tests need playwright: pip install 'manifoldscope[test]'")
    if program() is None:
        pytest.skip("browser tests need a browser: install chromium (apt-get install chromium) or google-chrome")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium as it is installed; closed with the last test of this folder."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program(), args=list(ARGUMENTS))
        yield opened
        opened.close()


@dataclass
class Written:
    """A page on the disk, and the tables that it was made from."""

    path: Path
    tables: dict[str, pl.DataFrame]


@pytest.fixture(scope="package")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    """Pages of `made_up.SIZES` by name, each written once."""
    known: dict[str, Written] = {}

    def page(name: str) -> Written:
        if name not in known:
            arguments = made_up.arguments(made_up.SIZES[name])
            with pytest.MonkeyPatch.context() as patch:
                assert set(DRAWN) <= set(FIGURES.names())
                patch.setattr(FIGURES, "_entries", {each: FIGURES[each] for each in DRAWN})
                if name != "large":
                    patch.setattr(report_page, "ROWS_SHOWN", ROWS)
                    patch.setattr(report_page, "FIGURE_ROWS", ROWS)
                path = made_up.write(arguments, tmp_path_factory.mktemp("page"))
            known[name] = Written(path, arguments["tables"])
        return known[name]

    return page


@dataclass
class Visit:
    """One page in one window; `trouble` holds everything that it should not have done."""

    page: Any
    trouble: list[str] = field(default_factory=list)

    def address(self) -> dict[str, list[str]]:
        """What the address says is chosen: all values of each part."""
        pairs = self.page.evaluate("[...new URLSearchParams(location.hash.slice(1))]")
        found: dict[str, list[str]] = {}
        for name, value in pairs:
            found.setdefault(name, []).append(value)
        return found


@dataclass
class Tab:
    """A window that is used by one test after another; what it does wrong belongs to the visit of the moment."""

    page: Any
    visit: Visit | None = None

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: message.type == "error" and self.note(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.note(f"error: {error}"))
        self.page.on("request", self.requested)
        self.page.on("dialog", self.asked)

    def note(self, trouble: str) -> None:
        """Of the visit that it happens in."""
        if self.visit is not None:
            self.visit.trouble.append(trouble)

    def requested(self, request: Any) -> None:
        """A page may ask for itself, and for nothing else."""
        inside = request.url.startswith(("data:", "blob:"))
        if not (inside or (request.url.startswith("file:") and request.is_navigation_request())):
            self.note(f"request: {request.url}")

    def asked(self, dialog: Any) -> None:
        """No page asks the reader anything."""
        self.note(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture(scope="package")
def tabs_of(browser: Any) -> Callable[..., list[Tab]]:
    """The windows of each size and setting, free ones and those in use: a new one takes longer than most tests."""
    known: dict[str, list[Tab]] = {}

    def tabs(**settings: Any) -> list[Tab]:
        return known.setdefault(repr(sorted(settings.items())), [])

    return tabs


@pytest.fixture
def visit(browser: Any, tabs_of: Callable[..., list[Tab]]) -> Iterator[Callable[..., Visit]]:
    """Opens pages, and fails a test in which one of them did what it should not have done."""
    used: list[Tab] = []
    visits: list[Visit] = []

    def opened(path: Path, address: str = "", *, width: int = 1400, live: bool = True, **settings: Any) -> Visit:
        known = tabs_of(width=width, **settings)
        tab = next((each for each in known if each.visit is None), None)
        if tab is None:
            context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
            context.set_default_timeout(15_000)
            context.add_init_script(POLICY)
            tab = Tab(context.new_page())
            known.append(tab)
        tab.visit = Visit(tab.page)
        used.append(tab)
        visits.append(tab.visit)
        tab.page.goto(path.as_uri() + address)
        if live:
            ready(tab.page)
        return tab.visit

    yield opened
    for tab in used:
        tab.page.goto("about:blank")
        tab.visit = None
    assert [trouble for each in visits for trouble in each.trouble] == []


def ready(page: Any) -> None:
    """Wait until the page has come to life; to wait for a function, playwright would need what the policy forbids."""
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)


def said(visit: Visit) -> dict[str, str]:
    """What the address says is chosen: one value of each part."""
    return {name: values[0] for name, values in visit.address().items()}


def number(text: str) -> float | None:
    """A number as a page writes it."""
    return None if text == "–" else float(re.sub(r"[\u202f,]", "", text).replace("−", "-"))
