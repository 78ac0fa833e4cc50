"""No serious violation of the rules of accessibility, in light and dark, at three widths: by axe-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import AXE, UNFOLD, Visit, Written

RUN = """async ([part, contrast, alone]) => {
  const which = alone ? { runOnly: ["color-contrast"] } : { rules: { "color-contrast": { enabled: contrast } } };
  const found = await axe.run(document.querySelector(part), { resultTypes: ["violations"], ...which });
  return found.violations
    .filter((each) => each.impact === "serious" || each.impact === "critical")
    .flatMap((each) => each.nodes.slice(0, 4).map((node) => `${each.id}: ${node.target} ${node.failureSummary}`));
}"""


def violations(page: Any, part: str = "html", *, contrast: bool = True, alone: bool = False) -> list[str]:
    """What axe-core finds in a part of the page as it stands; of contrast too, or of contrast alone."""
    return list(page.evaluate(RUN, [part, contrast, alone]))


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("one network", 1400, "light"),
        ("one network", 1400, "dark"),
        ("one network", 800, "light"),
        ("ordinary", 390, "dark"),
    ],
)
def test_nothing_keeps_people_out(
    written: Callable[[str], Written], visit: Callable[..., Visit], name: str, width: int, scheme: str
) -> None:
    if not AXE.exists():
        pytest.skip("accessibility is checked by axe-core: npm install")
    # The page's own policy would not let a foreign script in; the same page without it is otherwise the same.
    page = visit(written(name).path, width=width, color_scheme=scheme, bypass_csp=True).page
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    # Colours are the same at every width, and take the longest; all else is the same in light and dark.
    asked = {"contrast": width == 1400, "alone": width == 1400 and scheme == "dark"}
    page.locator("main").evaluate(UNFOLD)
    found = violations(page, **asked)
    for tab in page.locator("[role=tab]").all()[1:]:  # the first is open, and was looked at
        tab.click()
        panel = f"#{tab.get_attribute('aria-controls')}"
        page.locator(panel).evaluate(UNFOLD)
        found += violations(page, panel, **asked)
    assert sorted(set(found)) == []
