"""No serious violation of the rules of accessibility, in light and dark, at three widths: by axe-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import AXE, Visit, Written

RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations
    .filter((each) => each.impact === "serious" || each.impact === "critical")
    .flatMap((each) => each.nodes.slice(0, 4).map((node) => `${each.id}: ${node.target} ${node.failureSummary}`));
}"""


def violations(page: Any) -> list[str]:
    """What axe-core finds of the page as it stands."""
    return list(page.evaluate(RUN))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 800, 390])
def test_nothing_keeps_people_out(
    written: Callable[[str], Written], visit: Callable[..., Visit], width: int, scheme: str
) -> None:
    if not AXE.exists():
        pytest.skip("accessibility is checked by axe-core: npm install")
    # The page's own policy would not let a foreign script in; the same page without it is otherwise the same.
    seen = visit(written("ordinary").path, width=width, color_scheme=scheme, bypass_csp=True)
    page = seen.page
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = violations(page)
    if width == 1400:
        for tab in page.locator("[role=tab]").all():
            tab.click()
            for part in page.locator("#explorer details:visible > summary").all():
                part.click()
            found += page.evaluate(RUN.replace("document,", "document.getElementById('explorer'),"))
    assert sorted(set(found)) == []
