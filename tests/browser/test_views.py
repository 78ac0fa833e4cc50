"""Views that have nothing to show are no tabs, and one that has opens where the reader expects it."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.conftest import Visit, Written
from tests.browser.made_up import SIZES
from tests.browser.test_choosing import POINT, chosen

LEFT_OUT = ".beside > details"


def test_a_view_with_nothing_to_show_is_no_tab_and_says_why(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    seen = visit(written("no attack").path, "#view=confusion")
    page = seen.page
    tabs = page.locator("[role=tab]").all_inner_texts()
    assert tabs == ["Diagnosis card", "Cards side by side", "In three dimensions"]
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Diagnosis card"
    assert page.locator(".note").inner_text() == "The link names the view “confusion”, which this page does not have."
    page.locator(f"{LEFT_OUT} summary").click()
    reasons = page.locator(f"{LEFT_OUT} li").all_inner_texts()
    assert "Training: no network was trained here." in reasons
    assert not {reason.split(":")[0] for reason in reasons} & set(tabs)
    page.locator("[role=tab]").first.focus()
    page.keyboard.press("End")
    assert page.locator("[role=tab]").last.get_attribute("aria-selected") == "true"


def test_without_attacks_classes_are_shown_by_the_measure_and_can_be_chosen(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    page = visit(written("no attack").path).page
    names = SIZES["no attack"].classes
    known = written("no attack").tables["geometry"].filter(model="standard", layer="features", measure="pca_dimension")
    assert page.locator(POINT).count() == known["value"].is_not_null().sum()
    rising = known.sort("value", descending=True).drop_nulls("value")["class_name"].to_list()
    shown = page.locator(POINT).evaluate_all(
        "(all) => all.sort((a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y)"
        ".map((each) => each.ariaLabel.split(':')[0])"
    )
    assert shown == rising
    assert "Nothing was attacked in this study" in page.locator(".scatter .fact").inner_text()
    assert page.locator("select[name=outcome]").is_hidden()
    page.locator(f"{POINT}[data-key='3']").click()
    assert names[3] in chosen(page)


def test_a_training_opens_at_the_last_epoch_of_the_chosen_network(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    page = visit(written("ordinary").path, "#view=training&network=adversarial").page
    epoch = page.locator("[data-view=training] .epoch output")
    assert epoch.inner_text() == "20 of 20"
    assert page.locator("[data-view=training] .reading").first.inner_text() == "adversarial: 0.1"
    page.locator("select[name=network]").select_option(label="standard")
    assert epoch.inner_text() == "10 of 10"
    assert page.locator("[data-view=training] .reading").first.inner_text() == "standard: 0.2"
    page.locator("[data-view=training] input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    assert epoch.inner_text() == "9 of 10"
    page.locator("select[name=measure]").select_option(index=1)
    assert epoch.inner_text() == "9 of 10", "another measure moves the epoch"


def test_points_at_one_place_can_each_be_chosen_by_the_mouse(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    page = visit(written("at one place").path).page
    for key in range(len(SIZES["at one place"].classes)):
        page.locator(f"{POINT}[data-key='{key}']").click()
    assert len(chosen(page)) == min(6, len(SIZES["at one place"].classes))
    assert "stand in a ring around it" in page.locator(".scatter .picture").inner_text()
