"""The minimal perturbation: against linear networks, whose answer is known, and beside PGD."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
import torch
from polars import selectors as cs
from torch import nn

from manifoldscope.attacks import PGD, evaluate, minimal_perturbation, robustness_curve
from manifoldscope.attacks.checks import minimal_checks
from manifoldscope.attacks.fab import to_plane
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from minimal_perturbations import foolbox_fmn, known
from real_networks import mnist, zoo
from tests.attacks.networks import convolutional, fitted, images

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
by_minimum_norm = pytest.mark.parametrize("attack", ["fmn", "fab"])


def linear(n_classes=2, *, seed=0):
    """A linear network without normalisation, and 16 grey images that no small change brings to 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(36, n_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(n_classes, 36, generator=generator))
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    network = Network(nn.Sequential(nn.Flatten(), layer), name="linear")
    pixels = 0.5 + 0.1 * (2 * torch.rand(16, 3, 2, 6, generator=generator) - 1)
    with torch.no_grad():
        return network, ImageSet.of(pixels, network(pixels).argmax(1))


class NaNFor(nn.Module):
    """A network that gives NaN for one image, and for no other."""

    def __init__(self, module, image):
        super().__init__()
        self.module, self.image = module, image

    def forward(self, pixels):
        lost = (pixels == self.image).flatten(1).all(1, keepdim=True)
        return torch.where(lost, torch.nan, self.module(pixels))


def exact(network, drawn, norm):
    """min over other classes of (z_label - z_other) / ||w_label - w_other||, in the dual norm; image by image."""
    layer = network.module[1]
    with torch.no_grad():
        logits = network(network.pixels(drawn)).double()
    own = logits[torch.arange(len(drawn)), drawn.labels].unsqueeze(1)
    apart = (layer.weight[drawn.labels].unsqueeze(1) - layer.weight).double()
    size = torch.linalg.vector_norm(apart, ord=1 if norm == "linf" else 2, dim=2)
    ratio = ((own - logits) / size).nan_to_num(nan=math.inf)
    return dict(zip(drawn.names, ratio.amin(1).tolist(), strict=True))


def shares(table, truth):
    return [row["minimal_epsilon"] / truth[row["image"]] for row in table.iter_rows(named=True)]


@every_norm
def test_bisection_finds_the_margin_of_a_linear_network(norm):
    network, drawn = linear()
    table = minimal_perturbation(network, drawn, norm=norm)
    found = shares(table, exact(network, drawn, norm))
    # Below 1 by the rounding of float32 logits alone, above it by the tolerance.
    assert min(found) > 1 - 1e-4
    assert max(found) < 1 + 1e-3


@every_norm
def test_with_many_classes_the_answer_is_an_upper_bound_and_mostly_near(norm):
    # not always: the ascent goes to the likeliest other class, and the nearest may be another
    network, drawn = linear(10)
    found = sorted(shares(minimal_perturbation(network, drawn, norm=norm, tolerance=5e-3), exact(network, drawn, norm)))
    assert found[0] > 1 - 1e-4
    assert found[len(found) // 2] < 1.01


@every_norm
@by_minimum_norm
def test_minimum_norm_attacks_come_near_the_margin_of_a_linear_network(attack, norm):
    network, drawn = linear()
    truth = exact(network, drawn, norm)
    table = minimal_perturbation(network, drawn, attack=attack, norm=norm)
    assert min(shares(table, truth)) > 1 - 1e-4
    for row in table.iter_rows(named=True):
        # FAB oversteps by 5%, and FMN shrinks its ball by steps
        assert row["minimal_epsilon"] <= 1.05 * truth[row["image"]] + 2e-4


@every_norm
@by_minimum_norm
@pytest.mark.parametrize("contrast", [2, 100])
def test_minimum_norm_attacks_find_the_margin_although_the_box_cuts_the_way(attack, norm, contrast):
    """A pixel at 0 or 1 can go one way only; where that is the wrong one, the others have to go further."""
    network, _ = linear()
    noise = torch.rand(16, 3, 2, 6, generator=torch.Generator().manual_seed(1)) - 0.5
    pixels = (0.5 + contrast * noise).clamp(0, 1)
    with torch.no_grad():
        logits = network(pixels)
    drawn, weight = ImageSet.of(pixels, logits.argmax(1)), network.module[1].weight.detach()
    normal, rise = weight[1 - drawn.labels] - weight[drawn.labels], (logits[:, 0] - logits[:, 1]).abs()
    ways = to_plane(pixels.flatten(1), normal, rise, norm)
    within = (normal * ways).sum(1) > 0.999 * rise  # the plane meets the box
    truth = torch.linalg.vector_norm(ways, ord=math.inf if norm == "linf" else 2, dim=1)
    free = rise / torch.linalg.vector_norm(normal, ord=1 if norm == "linf" else 2, dim=1)
    assert (within & (truth > 1.05 * free)).sum() > 8  # the box binds
    table = minimal_perturbation(network, drawn, attack=attack, norm=norm, largest=0.99 if norm == "linf" else 6.0)
    found = dict(table.select("image", "minimal_epsilon").iter_rows())
    for place in within.nonzero().flatten().tolist():
        assert 1 - 1e-4 < found[drawn.names[place]] / truth[place] < 1.05  # FAB oversteps by 5%


def test_fmn_finds_the_distances_that_another_library_finds():
    drawn = images(24)
    network = fitted(drawn)
    table = minimal_perturbation(network, drawn, attack="fmn")
    theirs = foolbox_fmn(network, drawn, "linf")
    correct = (table["clean_prediction"] == table["label"]).to_torch()
    assert int(correct.sum()) > 20
    ours = torch.tensor(table["minimal_epsilon"].to_list(), dtype=torch.float64)
    torch.testing.assert_close(ours[correct], theirs[correct], rtol=0.01, atol=0)  # a last ball shrinks by up to 0.5%


def test_where_gradients_lead_nowhere_fmn_loses_images_and_a_check_says_so(shared_data, shared_weights):
    """Not ours alone: another library's FMN ends on the same images without an adversarial example."""
    network = zoo("mnist_madry_cnn_tiny", shared_weights)
    drawn = known(network, mnist(3, shared_data), 20)
    found = minimal_perturbation(network, drawn, attack="fmn")
    ours = torch.tensor(found["minimal_epsilon"].to_list(), dtype=torch.float64)
    assert torch.equal(ours.isinf(), foolbox_fmn(network, drawn, "linf").isinf())
    broken = evaluate(network, drawn, PGD(epsilon=0.4, steps=40), iterate="any").table
    assert (~broken["robust_any"]).sum() > 15
    (row,) = minimal_checks(pl.concat([found.drop("low", "high"), broken]))
    assert (row["check"], row["passed"]) == ("minimal epsilon (minimal_fmn)", False)


def test_the_bracket_holds_the_answer_and_is_as_narrow_as_asked():
    network, drawn = linear()
    table = minimal_perturbation(network, drawn, tolerance=0.05)
    assert (table["low"] < table["high"]).all()
    assert (table["high"] - table["low"] <= 0.0501 * table["high"]).all()  # decided in float32
    assert table["minimal_epsilon"].equals(table["high"], check_names=False)
    truth = exact(network, drawn, "linf")
    assert all(row["low"] <= truth[row["image"]] * (1 + 1e-4) for row in table.iter_rows(named=True))


def test_misclassified_images_need_nothing_and_robust_ones_infinity():
    drawn = images(40, seed=3)
    network = convolutional()
    table = minimal_perturbation(network, drawn, largest=1e-4)
    wrong = table["clean_prediction"] != table["label"]
    assert 0 < wrong.sum() < len(drawn)
    assert (table.filter(wrong)["minimal_epsilon"] == 0).all()
    assert table.filter(~wrong)["minimal_epsilon"].is_infinite().mean() > 0.9
    assert table["robust_last"].equals(table["minimal_epsilon"].is_infinite(), check_names=False)
    assert set(table.filter(table["robust_last"])["low"]) == {1e-4}


def test_what_bisection_misclassifies_pgd_does_and_the_other_way_round():
    drawn = images(48)
    network = fitted(drawn)
    table = minimal_perturbation(network, drawn)
    pgd = evaluate(network, drawn, PGD(epsilon=0.12)).table
    both = table.join(pgd, on="image", suffix="_pgd")
    found = both["minimal_epsilon"] <= 0.12
    assert 0 < found.sum() < len(drawn)
    only_pgd, only_bisection = (~found & ~both["robust_last_pgd"]).sum(), (found & both["robust_last_pgd"]).sum()
    assert only_pgd <= 1 + only_bisection  # one image may stand on the boundary


@pytest.mark.parametrize("attack", ["pgd", "fmn", "fab"])
def test_the_same_seed_gives_the_same_answer_and_leaves_no_trace(attack):
    drawn = images(12)
    network = fitted(drawn)
    network.module.train()
    before = torch.get_rng_state()
    first, second = (minimal_perturbation(network, drawn, attack=attack, tolerance=0.1, seed=4) for _ in range(2))
    assert network.module.training
    assert all(parameter.requires_grad for parameter in network.module.parameters())
    assert torch.equal(before, torch.get_rng_state())
    assert first.equals(second)


def test_the_number_of_images_at_a_time_does_not_matter():
    network, drawn = linear()
    whole, parts = (minimal_perturbation(network, drawn, batch_size=size) for size in (16, 5))
    assert ((whole["high"] - parts["high"]).abs() <= 2e-3 * whole["high"]).all()  # twice the tolerance


def test_an_image_starts_where_its_name_says_in_whatever_company():
    drawn = images(8)
    network = fitted(drawn)
    whole = minimal_perturbation(network, drawn, steps=3, tolerance=0.1, batch_size=1)
    some = minimal_perturbation(network, drawn.subset(torch.tensor([6, 3])), steps=3, tolerance=0.1, batch_size=1)
    assert some.sort("image").equals(whole.filter(pl.col("image").is_in(some["image"].to_list())).sort("image"))
    other = minimal_perturbation(network, drawn, steps=3, tolerance=0.1, batch_size=1, seed=1)
    assert not other["high"].equals(whole["high"])  # starts do count here


def test_a_batch_that_does_not_fit_is_halved_and_changes_nothing():
    network, drawn = linear()
    whole = minimal_perturbation(network, drawn)

    def refuse(module, given):
        if len(given[0]) > 5:
            raise MemoryError

    network.module.register_forward_pre_hook(refuse)
    with pytest.warns(UserWarning, match="did not fit into memory: it goes on with"):
        halved = minimal_perturbation(network, drawn)
    assert ((whole["high"] - halved["high"]).abs() <= 2e-3 * whole["high"]).all()


@pytest.mark.parametrize("attack", ["pgd", "fmn"])
def test_an_image_without_a_class_needs_nothing_and_costs_no_answer_of_another(attack):
    network, drawn = linear()
    whole = minimal_perturbation(network, drawn, attack=attack)
    broken, lost = Network(NaNFor(network.module, drawn.raw.pixels[3]), name="linear"), drawn.names[3]
    found = minimal_perturbation(broken, drawn, attack=attack)
    row = found.filter(pl.col("image") == lost).row(0, named=True)
    assert (row["clean_prediction"], row["robust_last"], row["minimal_epsilon"]) == (-1, False, 0.0)
    others = pl.col("image") != lost
    # Some processors multiply fifteen rows with other rounding than sixteen, and FMN's next step starts from it.
    distances = cs.by_name("minimal_epsilon", "low", "high")
    found, whole = found.filter(others), whole.filter(others)
    assert found.select(~distances).equals(whole.select(~distances))
    np.testing.assert_allclose(found.select(distances & cs.float()), whole.select(distances & cs.float()), rtol=1e-4)
    with pytest.raises(ModelError, match="linear gave NaN or infinite logits for all 1 images"):
        minimal_perturbation(broken, drawn.subset(torch.tensor([3])), attack=attack)


def test_a_curve_falls_from_clean_accuracy_and_its_median_is_where_half_are_left():
    rows = pl.DataFrame(
        {
            "model": "m",
            "attack": "t",
            "parameters": "",
            "label": [0, 0, 0, 0, 1, 1],
            "minimal_epsilon": [0.0, 0.2, 0.1, math.inf, math.inf, math.inf],
        }
    )
    curve = robustness_curve(rows)
    first, second = curve.filter(pl.col("label") == 0), curve.filter(pl.col("label") == 1)
    assert curve.schema["label"] == rows.schema["label"]  # so that the classes' names can be joined
    assert first["epsilon"].to_list() == [0.0, 0.1, 0.2]
    assert first["robust_accuracy"].to_list() == [0.75, 0.5, 0.25]
    assert set(first["median"]) == {0.1}
    assert second.select("epsilon", "robust_accuracy", "median").rows() == [(0.0, 1.0, math.inf)]


def test_labels_beyond_the_network_are_refused():
    with pytest.raises(ModelError, match="has 2 outputs, but label 3 occurs"):
        minimal_perturbation(convolutional(2), images(8))


def test_a_table_without_answers_is_refused():
    drawn = images(8)
    with pytest.raises(AttackError, match="8 rows have no minimal_epsilon"):
        robustness_curve(evaluate(convolutional(), drawn, PGD(epsilon=0.1, steps=1)).table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"largest": 8}, "did you mean 8/255"),
        ({"largest": 0}, "largest = 0; expected a radius above 0"),
        ({"steps": 0}, "steps = 0; expected at least 1"),
        ({"tolerance": 0.0}, "tolerance = 0.0; expected a share of epsilon"),
        ({"attack": "cw"}, "attack = 'cw'; expected 'pgd' or 'fmn' or 'fab'"),
        ({"attack": ["pgd"]}, "attack = ['pgd']; expected 'pgd'"),
        ({"largest": None}, "largest = None; expected a number"),
        ({"steps": "20"}, "steps = '20'; expected a whole number"),
        ({"tolerance": [0.1]}, "tolerance = [0.1]; expected a number"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(settings, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        minimal_perturbation(convolutional(), images(4), **settings)
