"""No serious violation of the rules of accessibility, in light and dark, at three widths: by axe-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import AXE, UNFOLD, Visit, Written

RUN = """async ([part, contrast]) => {
  const rules = { "color-contrast": { enabled: contrast } };
  const found = await axe.run(document.querySelector(part), { resultTypes: ["violations"], rules });
  return found.violations
    .filter((each) => each.impact === "serious" || each.impact === "critical")
    .flatMap((each) => each.nodes.slice(0, 4).map((node) => `${each.id}: ${node.target} ${node.failureSummary}`));
}"""


def violations(page: Any, part: str = "html", *, contrast: bool = True) -> list[str]:
    """What axe-core finds in a part of the page as it stands."""
    return list(page.evaluate(RUN, [part, contrast]))


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
    contrast = width == 1400  # colours are the same at every width, and take the longest
    page.locator("main").evaluate(UNFOLD)
    found = violations(page, contrast=contrast)
    for tab in page.locator("[role=tab]").all():
        tab.click()
        panel = f"#{tab.get_attribute('aria-controls')}"
        page.locator(panel).evaluate(UNFOLD)
        found += violations(page, panel, contrast=contrast)
    assert sorted(set(found)) == []
