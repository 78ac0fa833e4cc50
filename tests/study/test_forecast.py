"""A forecast counts what is done: evaluations of measures, and passes in training and in evaluation mode."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from manifoldscope.geometry import measures as registered
from manifoldscope.recordings.rows import class_rows, curve_rows, extrapolation_rows, joint_rows, reliability_row
from manifoldscope.study import Store
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs
from manifoldscope.study.measuring_cost import evaluations
from manifoldscope.study.probe import Duration, Passes, probe
from manifoldscope.training.objectives import OBJECTIVES
from manifoldscope.training.objectives.objective import TRAINING_PASS
from manifoldscope.vision.memory import Footprint
from tests.study import tiny

SAMPLING = {"split_halves": 3, "null": 4, "curve": 2}


@pytest.fixture
def evaluated(monkeypatch):
    """How often each measure is evaluated, by the number of points of a class."""
    seen: Counter[tuple[str, int]] = Counter()
    of_classes, of_class = registered._joint, registered._single

    def joint(entry, clouds, settings):
        seen[entry.name, min(cloud.n_points for cloud in clouds)] += 1
        return of_classes(entry, clouds, settings)

    def single(entry, cloud, settings):
        seen[entry.name, cloud.n_points] += 1
        return of_class(entry, cloud, settings)

    monkeypatch.setattr(registered, "_joint", joint)
    monkeypatch.setattr(registered, "_single", single)
    return seen


def forecast_evaluations(names, sampling, n_points):
    found: Counter[tuple[str, int]] = Counter()
    for times, some, n in evaluations([{"name": name} for name in names], sampling, n_points):
        for measure in some:
            found[measure["name"], n] += times
    return found


def clouds(n_classes, n_points, n_features=7):
    return list(torch.randn(n_classes, n_points, n_features, generator=torch.Generator().manual_seed(0)))


def test_evaluations_of_joint_measures_are_counted_as_they_are_made(evaluated):
    names, points = ["centroid_distance", "within_between_ratio"], clouds(3, 20)
    wanted = [(name, {}) for name in names]
    joint_rows(points, wanted, split_halves=3, null=4, seed=0)
    curve_rows(points, wanted, draws=2, seed=0)
    assert evaluated == forecast_evaluations(names, SAMPLING, 20)


def test_evaluations_of_one_class_are_counted_as_they_are_made(evaluated):
    names, (points,) = ["participation_ratio", "two_nn"], clouds(1, 40, 60)
    wanted = [(name, {}) for name in names]
    class_rows(points, wanted, label=0, split_halves=3, null=4, seed=0)
    curve_rows(points, wanted, label=0, draws=2, seed=0)
    extrapolation_rows(points, wanted, label=0, factor=2.0, seed=0)
    assert evaluated == forecast_evaluations(names, {**SAMPLING, "extrapolate": 2.0}, 40)


def test_evaluations_for_reliability_are_counted_as_they_are_made(evaluated):
    reliability_row("centroid_distance", {}, clouds(4, 12), splits=5, seed=0)
    assert evaluated == forecast_evaluations(["centroid_distance"], {"split_halves": 5}, 12)


def test_the_seconds_of_a_layer_grow_with_what_is_evaluated_and_not_with_the_cube_of_all_images(tmp_path):
    """Joint measures of few features read every point once: no spectrum of all images is made."""
    store = Store(tmp_path / "run")
    store.prepare()
    study = tiny.study(measures=["centroid_distance"], layers=["penultimate"], models=tiny.raw()["models"][:1])
    context = tiny.context_of(study, store)
    (unit,) = tiny.of_kind(tiny.planned(study, store), "layer")
    costs = Costs(context, probe(context, "random", [unit], ["penultimate"]), "random")
    more = replace(unit, classes=tuple(replace(each, n_images=100 * each.n_images) for each in unit.classes))
    few, many = (each.seconds(costs, 16) - costs.forward_seconds(each._n_images, 16) for each in (unit, more))
    assert few < many < 100 * few


def test_the_clean_pass_of_an_attack_is_one_of_all_images_though_few_of_an_untrained_network_are_attacked(tmp_path):
    store = Store(tmp_path / "run")
    store.prepare()
    study = tiny.study(models=tiny.raw()["models"][:1])
    context = tiny.context_of(study, store)
    units = tiny.of_kind(tiny.planned(study, store), "attack")
    probed = probe(context, "random", units, [])
    passes = Passes(Duration(0.0, 1000.0), Footprint(0, 1.0))  # beside which steps and files are nothing
    costs = Costs(context, replace(probed, forward=passes, own=passes, search=passes), "random")
    seconds = sum(unit.seconds(costs, 30) for unit in units)
    assert {unit.attack.passes for unit in units} == {(1, 1), (1, 3)}
    assert seconds / (1000 * 30) == pytest.approx((1 + 2 / 3) + (1 + 4 / 3), rel=1e-3)


EXTRA = """
from torch import nn

class Counting(nn.Sequential):
    def get_extra_state(self):
        return {"seen": 0}

    def set_extra_state(self, state):
        pass

def make():
    return Counting(nn.Flatten(), nn.Linear(64, 10))
"""


def test_a_network_that_keeps_more_than_tensors_in_its_state_dict_is_measured(tmp_path):
    (tmp_path / "own.py").write_text(EXTRA)
    store = Store(tmp_path / "run")
    store.prepare()
    study = tiny.study(models=[{"name": "mine", "source": f"python:{tmp_path}/own.py:make"}])
    context = tiny.context_of(study, store)
    assert probe(context, "mine", tiny.of_kind(tiny.planned(study, store), "geometry"), []).weights == 4 * 650


# -- training ----------------------------------------------------------------------------------------------------------


def costs_of(tmp_path, training, **model):
    """The unit that trains a network, and its costs where an image takes a second and a byte in evaluation mode."""
    store = Store(tmp_path / "run")
    store.prepare()
    raw = tiny.raw(attacks=[], models=[{"name": "cnn", "source": "small:cnn", "training": training, **model}])
    study = tiny.parse(raw)
    context = tiny.context_of(study, store)
    (unit,) = tiny.of_kind(tiny.planned(study, store), "train")
    probed = probe(context, "cnn", [unit], [])
    own = Passes(Duration(0.0, 1.0), Footprint(0, 1.0))
    return unit, Costs(context, replace(probed, own=own, weights=0, image=0), "cnn")


@pytest.mark.parametrize(
    ("training", "passes"),
    [
        ({"objective": "standard"}, TRAINING_PASS / 4),
        ({"objective": "adversarial", "epsilon": 0.1, "steps": 3}, 3 + TRAINING_PASS / 4),
        ({"objective": "trades", "epsilon": 0.1, "steps": 3}, 3.5 + 2 * TRAINING_PASS / 4),
        ({"objective": "mart", "epsilon": 0.1, "steps": 3}, 3 + 2 * TRAINING_PASS / 4),
    ],
)
def test_a_vote_over_noise_costs_its_votes_in_evaluation_mode_alone(tmp_path, training, passes):
    defence = {"name": "noise_vote", "votes": 4}
    unit, costs = costs_of(tmp_path, {**training, "epochs": 2}, defence=defence)
    assert costs.network.in_training == 1 / 4
    n_shown = 2 * len(costs.context.draws["training"].images)
    assert unit.seconds(costs, 1) == pytest.approx(SECONDS_OF_A_UNIT + passes * n_shown)
    n_at_once = min(128, n_shown // 2)
    assert unit.need(costs).fixed == n_at_once * (1 / 4 if training["objective"] == "standard" else 1)


def test_other_networks_see_as_many_images_in_either_mode(tmp_path):
    unit, costs = costs_of(tmp_path, {"objective": "standard", "epochs": 1})
    assert costs.network.in_training == 1
    assert unit.seconds(costs, 1) == pytest.approx(SECONDS_OF_A_UNIT + TRAINING_PASS * unit.n_images)


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_no_objective_has_more_passes_in_training_mode_than_in_all(name):
    objective = OBJECTIVES[name].target
    needed = {"epsilon": 0.1, "strength": 0.1}
    made = objective(**{key: value for key, value in needed.items() if key in objective.__dataclass_fields__})
    assert 0 <= made.training_passes <= made.passes
    assert (made.training_passes > 0) is made.trains
