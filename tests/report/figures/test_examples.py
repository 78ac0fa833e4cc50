"""Attacked images are drawn with what the network takes them for."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import drawn, example, study_pictures
from manifoldscope.errors import ManifoldscopeError


def test_perturbations_state_their_scale_and_predictions_their_names() -> None:
    (figure,) = drawn("examples", {}, study_pictures())
    labels = [axes.get_xlabel() for axes in figure.chart.flat]
    assert "× 5" in labels
    assert "sees 2" in labels


@pytest.mark.parametrize("shapes", [((3, 8, 8), (3, 8, 8)), ((8, 8), (4, 4)), ((8,), (8,))])
def test_images_of_wrong_shapes_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ManifoldscopeError, match="expected \\(h, w\\)"):
        drawn("examples", {}, [example(*map(np.zeros, shapes))])


def test_a_long_name_of_an_attack_leaves_the_strength_whole() -> None:
    picture = example(np.zeros((4, 4)), np.ones((4, 4)), attack="a corruption with a long name " * 3, strength=0.0125)
    (figure,) = drawn("examples", {}, [picture])
    assert figure.chart.flat[0].texts[0].get_text().endswith("… strength 0.0125")
