"""Attacked images are drawn with what the network takes them for."""

from __future__ import annotations

from conftest import MODELS, study_pictures
from manifoldscope.report import attacked_examples


def test_perturbations_state_their_scale_and_predictions_their_names() -> None:
    chart = attacked_examples(study_pictures().examples, models=MODELS)
    labels = [axes.get_xlabel() for axes in chart.flat]
    assert "× 5" in labels
    assert "sees 2" in labels
