"""The runner: it judges by itself, checks the budget, and leaves the network as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import polars as pl
import pytest
import torch
from torch import nn

from manifoldscope.errors import DataError, ModelError, StudyError, ThreatError
from manifoldscope.robustness import PGD, THREATS, Threat, UniformNoise, evaluate, make, robustness_of
from manifoldscope.tables import TABLES
from tests.robustness.networks import convolutional, fitted, images


@dataclass(frozen=True, kw_only=True)
class Replaying(Threat):
    """Shows the target prepared images: first `middle` as an iterate, then `last`."""

    kind: ClassVar[str] = "replaying"
    strength_setting: ClassVar[str] = "epsilon"
    iterative: ClassVar[bool] = True
    epsilon: float = 1.0
    middle: float = 0.0
    last: float = 0.0

    def perturb(self, target, generator):
        target.gradient(torch.full_like(target.clean, self.middle), lambda logits: logits.sum(1))
        target.conclude(torch.full_like(target.clean, self.last))

    def excess(self, clean, perturbed):
        return (perturbed - clean).abs().flatten(1).amax(1) - self.epsilon


class Brightness(nn.Module):
    """Class 1 where the image is brighter than a half, else class 0."""

    def forward(self, pixels):
        mean = pixels.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


def bright_network():
    return replace(convolutional(2, channels=1), module=Brightness(), mean=(0.0,), std=(1.0,), name="brightness")


def dark_images(n=3):
    from manifoldscope.vision.images import ImageSet

    return ImageSet.of(torch.full((n, 1, 4, 4), 0.1), [0] * n, class_names=["dark", "bright"])


@pytest.mark.parametrize(
    ("middle", "last", "survived_last", "survived_any"),
    [(0.2, 0.2, True, True), (0.2, 0.9, False, False), (0.9, 0.2, True, False), (0.9, 0.9, False, False)],
)
def test_last_and_any_are_judged_apart(middle, last, survived_last, survived_any):
    table = evaluate(bright_network(), dark_images(), Replaying(middle=middle, last=last)).table
    assert table["survived_last"].to_list() == [survived_last] * 3
    assert table["survived_any"].to_list() == [survived_any] * 3


def test_an_image_that_is_wrong_when_clean_never_survives():
    drawn = dark_images()
    wrong = replace(drawn, labels=torch.tensor([1, 0, 0]))
    table = evaluate(bright_network(), wrong, Replaying(middle=0.9, last=0.9)).table.sort("image")
    assert table["survived_any"].to_list() == [False] * 3
    assert table["clean_prediction"].to_list() == [0, 0, 0]


@pytest.mark.parametrize("settings", [{"epsilon": 0.05}, {"last": float("nan")}, {"last": 1.5, "epsilon": 9.0}])
def test_a_threat_that_breaks_its_budget_is_stopped(settings):
    with pytest.raises(ThreatError, match="proposed an image that exceeds its budget"):
        evaluate(bright_network(), dark_images(), Replaying(**{"middle": 0.2, "last": 0.3, **settings}))


def test_the_network_is_left_as_it_was():
    drawn = images()
    network = convolutional()
    network.module.train()
    network.module[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    evaluate(network, drawn, PGD(epsilon=0.1, steps=2))
    assert network.module.training
    assert network.module[1].training
    assert [p.requires_grad for p in network.module.parameters()] == [False, True, True, True, True, True]
    assert all(parameter.grad is None for parameter in network.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())


def test_nan_logits_are_an_error_and_not_a_verdict():
    class Broken(nn.Module):
        def forward(self, pixels):
            out = pixels.flatten(1)[:, :2].clone()
            out[0] = float("nan")
            return out

    network = replace(bright_network(), module=Broken(), name="broken")
    with pytest.raises(ModelError, match="broken gave NaN or infinite logits for 1 of 3 images"):
        evaluate(network, dark_images(), PGD(epsilon=0.1))


def test_several_threats_give_one_answer_the_worst_case_of_each_image():
    drawn = images()
    network = fitted(drawn)
    threats = [PGD(epsilon=0.04, steps=3), PGD(epsilon=0.08, steps=3), UniformNoise(epsilon=0.08)]
    together = evaluate(network, drawn, threats)
    apart = [evaluate(network, drawn, threat) for threat in threats]
    assert len(together.table) == 3 * len(drawn)
    assert together.accuracy <= min(one.accuracy for one in apart)
    assert list(together.table.columns) == list(TABLES["verdicts"].columns)


def test_counts_by_class_agree_with_the_verdicts():
    drawn = images(20)
    verdicts = evaluate(fitted(drawn, steps=8), drawn, PGD(epsilon=0.03, steps=3))
    classes = pl.DataFrame({"label": drawn.classes, "class_name": [drawn.class_names[c] for c in drawn.classes]})
    counted = robustness_of(verdicts.table.with_columns(split=pl.lit("all")), classes)
    assert counted["n_images"].sum() == 2 * len(drawn)  # last and any
    last = counted.filter(pl.col("iterate") == "last")
    assert last["n_survived"].sum() == verdicts.table["survived_last"].sum()
    assert (last["n_survived"] <= last["n_clean_correct"]).all()
    assert last["accuracy"].mean() == pytest.approx(verdicts.accuracy)  # classes of equal size


def test_batches_do_not_change_the_verdicts():
    drawn = images(24)
    network = fitted(drawn)
    whole = evaluate(network, drawn, PGD(epsilon=0.05, steps=4), batch_size=24)
    parts = evaluate(network, drawn, PGD(epsilon=0.05, steps=4), batch_size=7)
    differ = (whole.table["survived_last"] != parts.table["survived_last"]).sum()
    assert differ <= 1  # the order of additions may tip an image that stands on the boundary


BALLS = [entry for entry in THREATS if entry.target.strength_setting == "epsilon"]


@pytest.mark.parametrize("entry", BALLS, ids=lambda entry: entry.name)
def test_every_threat_in_a_ball_obeys_the_interface(entry):
    if needed := entry.traits.get("needs"):
        pytest.importorskip(needed, reason=f"{entry.name} needs {needed}: pip install 'manifoldscope[attacks]'")
    quick = {"queries": 50} if "queries" in entry.settings.model_fields else {}
    threat = make(entry.name, {entry.target.strength_setting: 0.1, **quick})
    assert threat.kind == entry.name
    assert threat.strength == pytest.approx(0.1)
    assert entry.target.strength_setting not in threat.parameters
    assert sum(threat.passes) >= 1
    assert entry.summary.endswith(".")
    drawn = images(8)
    verdicts = evaluate(fitted(drawn), drawn, threat, keep_images=True)
    moved = (verdicts.adversarial[0] - fitted(drawn).pixels(drawn)).abs().max()
    assert 0 < moved <= 0.1 + 1e-6
    hash(threat)


def test_requests_that_cannot_be_are_refused():
    drawn = images()
    with pytest.raises(ThreatError, match="at least one of each"):
        evaluate(convolutional(), drawn, [])
    with pytest.raises(ThreatError, match="keep_images needs iterate='both'"):
        evaluate(convolutional(), drawn, PGD(epsilon=0.1), iterate="any", keep_images=True)
    with pytest.raises(StudyError, match="there is no threat 'pdg'; did you mean 'pgd'"):
        make("pdg", {})
    with pytest.raises(DataError, match="expected \\[0, 1\\]"):
        images().of(torch.rand(2, 3, 4, 4) * 255, [0, 1])
