"""The runner: it judges by itself, checks the budget, and leaves the network as it was."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifoldscope.attacks import (
    APGDCE,
    APGDT,
    ATTACKS,
    FABT,
    FGSM,
    PGD,
    Perturbation,
    UniformNoise,
    evaluate,
    external,
    make,
    minimal_perturbation,
    robustness_of,
)
from manifoldscope.attacks.engine import Engine
from manifoldscope.errors import AttackError, DataError, ModelError, StudyError
from manifoldscope.tables import TABLES
from manifoldscope.vision.fast import FastNetwork, faster
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.memory import Memory
from manifoldscope.vision.network import Network, logits
from manifoldscope.vision.raw import FileImages
from tests.attacks.networks import convolutional, fitted, images


@dataclass(frozen=True, kw_only=True)
class Replaying(Perturbation):
    """Shows prepared images: first `middle` as an iterate, then `last`."""

    kind: ClassVar[str] = "replaying"
    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[str] = "both"
    asks_gradients: ClassVar[bool] = True
    epsilon: float = 1.0
    middle: float = 0.0
    last: float = 0.0

    def start(self, rows):
        return {"images": torch.full_like(rows.clean, self.middle), "steps": torch.zeros_like(rows.labels)}

    def loss_of(self, logits, rows, state):
        return logits.sum(1)

    def step(self, rows, state, seen):
        return {"images": torch.full_like(rows.clean, self.last), "steps": state["steps"] + 1}

    def finished(self, state):
        return state["steps"] == 1

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
    return ImageSet.of(torch.full((n, 1, 4, 4), 0.1), [0] * n, class_names=["dark", "bright"])


@pytest.mark.parametrize(
    ("middle", "last", "robust_last", "robust_any"),
    [(0.2, 0.2, True, True), (0.2, 0.9, False, False), (0.9, 0.2, True, False), (0.9, 0.9, False, False)],
)
def test_last_and_any_are_judged_apart(middle, last, robust_last, robust_any):
    table = evaluate(bright_network(), dark_images(), Replaying(middle=middle, last=last)).table
    assert table["robust_last"].to_list() == [robust_last] * 3
    assert table["robust_any"].to_list() == [robust_any] * 3


def test_an_image_that_is_wrong_when_clean_is_never_robust():
    drawn = dark_images()
    wrong = replace(drawn, labels=torch.tensor([1, 0, 0]))
    table = evaluate(bright_network(), wrong, Replaying(middle=0.9, last=0.9)).table.sort("image")
    assert table["robust_any"].to_list() == [False] * 3
    assert table["clean_prediction"].to_list() == [0, 0, 0]


@pytest.mark.parametrize("settings", [{"epsilon": 0.05}, {"last": float("nan")}, {"last": 1.5, "epsilon": 9.0}])
def test_an_attack_that_breaks_its_budget_is_stopped(settings):
    with pytest.raises(AttackError, match="proposed an image that exceeds its budget"):
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


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_outcomes_are_the_same_where_the_caller_turned_gradients_off(mode):
    drawn = images(12)
    network, attack = fitted(drawn), PGD(epsilon=0.1, steps=3)
    expected, smallest = evaluate(network, drawn, attack).table, minimal_perturbation(network, drawn, steps=3)
    with mode():
        loaded = ImageSet.of(drawn.raw.pixels.clone(), drawn.labels.clone())
        assert evaluate(network, loaded, attack).table.equals(expected)
        assert minimal_perturbation(network, loaded, steps=3).equals(smallest)


class NaNAbove(nn.Module):
    """As `Brightness`, but NaN for images that are brighter than `limit`."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, pixels):
        mean = pixels.flatten(1).mean(1, keepdim=True)
        logits = torch.cat([0.5 - mean, mean - 0.5], dim=1)
        return torch.where(mean > self.limit, torch.full_like(logits, torch.nan), logits)


def of_brightness(*values):
    return ImageSet.of(torch.stack([torch.full((1, 4, 4), value) for value in values]), [0] * len(values))


@pytest.mark.parametrize("iterate", ["both", "any"])
def test_images_without_a_class_cost_no_outcome_of_another(iterate):
    network = replace(bright_network(), module=NaNAbove(0.3), name="broken")
    attack = PGD(epsilon=0.15, steps=5)
    found = evaluate(network, of_brightness(0.05, 0.25, 0.35), attack, iterate=iterate, fast=False)
    assert found.table["clean_prediction"].to_list() == [0, 0, -1]
    assert found.table["robust_any"].to_list() == [True, False, False]  # the second is brought to where NaN is
    assert found.failures.n_without_class == 2
    if iterate == "both":
        assert found.table["last_prediction"].to_list() == [0, -1, -1]


def test_a_gradient_that_is_nan_leaves_its_image_and_no_other_where_it_is():
    class Rooted(nn.Module):
        def forward(self, pixels):
            mean = pixels.flatten(1).mean(1)
            root = (mean * (mean > 0.2)).sqrt()  # its derivative at 0 is infinite, and times 0 NaN
            return torch.stack([0.3 - mean + 0 * root, mean - 0.3], dim=1)

    network = replace(bright_network(), module=Rooted(), name="rooted")
    found = evaluate(network, of_brightness(0.1, 0.25), PGD(epsilon=0.1, steps=5, random_start=False), fast=False)
    assert found.table["robust_last"].to_list() == [True, False]
    assert found.failures.n_without_gradient == 1


def test_a_network_that_gives_nothing_but_nan_is_an_error():
    with pytest.raises(ModelError, match="broken gave NaN or infinite logits for all 3 images"):
        evaluate(replace(bright_network(), module=NaNAbove(0.0), name="broken"), dark_images(), PGD(epsilon=0.1))


@pytest.mark.parametrize("iterate", ["both", "any"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_batch_that_does_not_fit_is_halved_and_no_outcome_is_lost(error, iterate):
    drawn = images(24)
    network = fitted(drawn)
    attack = PGD(epsilon=0.06, steps=4)
    whole = evaluate(network, drawn, attack, iterate=iterate, fast=False)

    def refuse(module, given):
        if len(given[0]) > 5:
            raise error

    hook = network.module.register_forward_pre_hook(refuse)
    with pytest.warns(UserWarning, match="did not fit into memory: it goes on with"):
        halved = evaluate(network, drawn, attack, iterate=iterate, fast=False)
    hook.remove()
    assert halved.failures.batch_size == 4
    assert halved.table["robust_any"].equals(whole.table["robust_any"])


def test_a_network_for_whose_copy_there_is_no_memory_goes_as_it_is():
    drawn = images(24)
    network = fitted(drawn)
    attack = PGD(epsilon=0.06, steps=4)
    whole = evaluate(network, drawn, attack, iterate="any", fast=False)

    def refuse(module, given):
        if len(given[0]) > 4:
            raise MemoryError

    hook = network.module.register_forward_pre_hook(refuse)
    few = evaluate(network, drawn, attack, iterate="any", batch_size=4)
    with pytest.warns(UserWarning, match="did not fit into memory"):
        many = evaluate(network, drawn, attack, iterate="any")
    hook.remove()
    assert few.failures.batch_size is None
    assert few.table.equals(whole.table)
    assert many.table.equals(whole.table)
    assert many.fast is None


def test_memory_decides_how_large_batches_are_and_no_outcome():
    drawn = images(24)
    network = fitted(drawn)
    attack = PGD(epsilon=0.06, steps=4)
    pixels = network.pixels(drawn, slice(0, 1))
    copy = faster(network, network.pixels(drawn, slice(0, 8)))
    for fast in (False, copy):
        whole = evaluate(network, drawn, attack, batch_size=24, fast=fast)
        shown = []
        hook = network.module.register_forward_hook(lambda module, given, output, to=shown: to.append(len(output)))
        memory = Memory()
        law = memory.footprint(network, pixels, gradient=True)
        memory.room = lambda device, law=law: int(law.of(7) + 0.5 * law.each)  # seven images, less what lies beside
        few = evaluate(network, drawn, attack, batch_size=24, fast=fast, memory=memory)
        hook.remove()
        assert fast or 1 < max(shown[2:]) <= 7  # batches go through a copy where there is one
        assert few.table.equals(whole.table)
        assert few.failures.batch_size is None


def test_a_single_image_that_does_not_fit_is_an_error():
    def refuse(module, given):
        raise MemoryError

    network = bright_network()
    network.module.register_forward_pre_hook(refuse)
    with pytest.raises(ModelError, match="one image at a time does not fit into memory"):
        evaluate(network, dark_images(), PGD(epsilon=0.1), fast=False)


def test_an_image_starts_where_its_name_says_in_whatever_company():
    drawn = images(24)
    network = fitted(drawn)
    attack = PGD(epsilon=0.06, steps=2)
    whole = evaluate(network, drawn, attack, keep_images=True, fast=False).adversarial[0]
    some = torch.tensor([3, 17, 20])
    alone = evaluate(network, drawn.subset(some), attack, keep_images=True, fast=False).adversarial[0]
    assert (alone - whole[some]).abs().max() < 1e-6


def test_several_attacks_give_one_answer_the_worst_case_of_each_image():
    drawn = images()
    network = fitted(drawn)
    attacks = [PGD(epsilon=0.04, steps=3), PGD(epsilon=0.08, steps=3), UniformNoise(epsilon=0.08)]
    together = evaluate(network, drawn, attacks)
    apart = [evaluate(network, drawn, attack) for attack in attacks]
    assert len(together.table) == 3 * len(drawn)
    assert together.robust_accuracy <= min(one.robust_accuracy for one in apart)
    assert list(together.table.columns) == list(TABLES["outcomes"].columns)


def test_the_norm_the_steps_and_the_aim_of_an_attack_have_columns():
    drawn = images(12)
    attacks = [
        PGD(epsilon=0.2, norm="l2", steps=3),
        PGD(epsilon=0.04, steps=2, target="random"),
        FGSM(epsilon=0.04),
        UniformNoise(epsilon=0.04),
        make("gaussian_noise", {"severity": 1}),
    ]
    table = evaluate(fitted(drawn), drawn, attacks).table
    found = table.select("attack", "norm", "n_steps", "targeted").unique().sort("attack", "norm")
    assert found.rows() == [
        ("fgsm", "linf", 1, False),
        ("gaussian_noise", None, None, False),
        ("noise", "linf", None, False),
        ("pgd", "l2", 3, False),
        ("pgd", "linf", 2, True),
    ]


def test_counts_by_class_agree_with_the_outcomes():
    drawn = images(20)
    outcomes = evaluate(fitted(drawn, steps=8), drawn, PGD(epsilon=0.03, steps=3))
    classes = pl.DataFrame({"label": drawn.classes, "class_name": [drawn.class_names[c] for c in drawn.classes]})
    counted = robustness_of(outcomes.table.with_columns(split=pl.lit("all")), classes)
    assert counted["n_images"].sum() == 2 * len(drawn)  # last and any
    last = counted.filter(pl.col("iterate") == "last")
    assert last["n_robust"].sum() == outcomes.table["robust_last"].sum()
    assert (last["n_robust"] <= last["n_clean_correct"]).all()
    assert counted.select("norm", "n_steps").unique().rows() == [("linf", 3)]
    assert last["robust_accuracy"].mean() == pytest.approx(outcomes.robust_accuracy)  # classes of equal size


def test_batches_do_not_change_the_outcomes():
    drawn = images(24)
    network = fitted(drawn)
    whole = evaluate(network, drawn, PGD(epsilon=0.05, steps=4), batch_size=24)
    parts = evaluate(network, drawn, PGD(epsilon=0.05, steps=4), batch_size=7)
    differ = (whole.table["robust_last"] != parts.table["robust_last"]).sum()
    assert differ <= 1  # the order of additions may tip an image that stands on the boundary


@pytest.mark.parametrize("iterate", ["both", "any"])
@pytest.mark.parametrize(
    "settings",
    [
        {"restarts": 2, "target": "random"},
        {"restarts": 3, "momentum": 0.9, "returns": "best"},
        {"norm": "l2", "epsilon": 1.4, "loss": "cw", "target": "least_likely"},
    ],
)
def test_images_that_come_as_others_leave_change_no_outcome(settings, iterate):
    """Each image has steps, restarts, momentum and a goal of its own, whatever company it is in."""
    drawn = images(48)
    network = fitted(drawn)
    attack = PGD(**{"epsilon": 0.12, "steps": 6, **settings})
    whole, few = (
        evaluate(network, drawn, attack, iterate=iterate, fast=False, batch_size=size, keep_images=True)
        for size in (48, 9)
    )
    assert few.table.equals(whole.table)
    assert 0 < whole.robust_accuracy_any < 1
    for one, other in zip(few.adversarial, whole.adversarial, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "attack",
    [
        APGDCE(epsilon=0.12, steps=10, restarts=3),
        APGDT(epsilon=0.12, steps=8, targets=2, restarts=2),
        FABT(epsilon=0.12, steps=8, targets=3),
        FABT(epsilon=1.3, norm="l2", steps=8, targets=3, restarts=2),
        FGSM(epsilon=0.15, random_start=True, restarts=4),
    ],
    ids=lambda attack: f"{attack.kind} {attack.norm}",
)
def test_runs_of_an_image_that_are_under_attack_together_are_as_one_after_another(attack):
    """The first run that succeeds gives the image and its class, whichever is the first to get there."""
    drawn = images(60, seed=5)
    network = fitted(drawn, steps=25)
    after_another, together = (
        evaluate(network, drawn, attack, fast=False, batch_size=size, keep_images=True) for size in (1, 128)
    )
    assert 0 < together.robust_accuracy < 1
    assert together.table.equals(after_another.table)
    assert torch.equal(together.misclassified_after[0], after_another.misclassified_after[0])
    torch.testing.assert_close(together.adversarial[0], after_another.adversarial[0], rtol=0, atol=1e-4)


def test_as_many_images_are_under_attack_as_a_batch_holds(monkeypatch):
    """Others come when an eighth of the rows is free; passes are full until none is left to come."""
    drawn = images(120)
    network = fitted(drawn)
    shown = []
    seen = Engine._seen
    monkeypatch.setattr(
        Engine,
        "_seen",
        lambda self, attack, rows, *rest, **how: (shown.append(len(rows)), seen(self, attack, rows, *rest, **how))[1],
    )
    found = evaluate(network, drawn, PGD(epsilon=0.12, steps=6), iterate="any", fast=False, batch_size=16)
    assert max(shown) == 16
    assert all(n > 14 for n in shown[:-6])
    assert 0 < found.robust_accuracy_any < 1


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_images_of_many_sizes_are_refused_whatever_the_batch(tmp_path, batch_size):
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8 if number < 2 else 12)).save(tmp_path / name)
    drawn = ImageSet(FileImages(names, tmp_path), torch.zeros(4, dtype=torch.int64), names, {0: "x"})
    head = nn.Linear(3, 2)
    nn.init.zeros_(head.weight)
    network = Network(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head))
    head.bias.data = torch.tensor([1.0, 0.0])
    with pytest.raises(DataError, match="differ in size"):
        evaluate(network, drawn, PGD(epsilon=0.1, steps=2), batch_size=batch_size)


@pytest.mark.parametrize("by_a_copy", [False, True])
def test_what_has_no_class_on_the_way_alone_is_counted(by_a_copy):
    network = replace(bright_network(), module=NaNAbove(0.5))
    fast = FastNetwork(network, ("a copy",)) if by_a_copy else False
    found = evaluate(network, dark_images(), Replaying(middle=0.9, last=0.2), fast=fast)
    assert (found.robust_accuracy, found.robust_accuracy_any) == (1.0, 0.0)
    assert found.failures.n_without_class == 3


BALLS = [entry for entry in ATTACKS if entry.target.strength_setting == "epsilon"]


@pytest.mark.parametrize("entry", BALLS, ids=lambda entry: entry.name)
def test_every_attack_in_a_ball_obeys_the_interface(entry):
    quick = {"queries": 50} if "queries" in entry.settings.model_fields else {}
    attack = make(entry.name, {entry.target.strength_setting: 0.1, **quick})
    assert attack.kind == entry.name
    assert attack.strength == pytest.approx(0.1)
    assert entry.target.strength_setting not in attack.parameters
    assert sum(attack.passes) >= 1
    assert entry.summary.endswith(".")
    drawn = images(8)
    outcomes = evaluate(fitted(drawn), drawn, attack, keep_images=True)
    moved = (outcomes.adversarial[0] - fitted(drawn).pixels(drawn)).abs().max()
    assert 0 < moved <= 0.1 + 1e-6
    hash(attack)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("norm", "L2", "'linf' or 'l2'; did you mean 'l2'"),
        ("norm", math.inf, "'linf' or 'l2'"),
        ("loss", "cross-entropy", "'ce' or 'cw' or 'dlr'"),
        ("returns", "first", "'last' or 'best'"),
        ("target", "label", "'random' or 'least_likely' or a whole number or None"),
        ("target", True, "'random' or 'least_likely' or a whole number or None"),
        ("epsilon", "8/255", "a number"),
        ("epsilon", True, "a number"),
        ("steps", 2.5, "a whole number"),
        ("restarts", None, "a whole number"),
        ("random_start", 1, "true or false"),
        ("step_size", "0.01", "a number or None"),
    ],
)
def test_a_setting_of_another_type_is_refused(setting, value, expected):
    with pytest.raises(AttackError, match=f"^{setting} = .*; expected {re.escape(expected)}"):
        PGD(**{"epsilon": 0.1, setting: value})


def test_numbers_of_numpy_are_numbers():
    assert PGD(epsilon=np.float32(0.25), steps=np.int64(3), target=np.int32(1)).resolved_step_size > 0


@pytest.mark.parametrize("name", [name for name in ATTACKS.names() if "norm" in ATTACKS[name].settings.model_fields])
def test_every_attack_of_a_ball_knows_its_norm(name):
    attack = ATTACKS[name].target
    with pytest.raises(AttackError, match="norm = 'Linf'; expected 'linf' or 'l2'; did you mean 'linf'"):
        attack(epsilon=0.1, norm="Linf")
    with pytest.raises(AttackError, match="norm = 'euclidean'"):
        minimal_perturbation(convolutional(), images(), norm="euclidean")


def test_what_a_network_says_of_clean_images_may_be_known():
    drawn, network, attack = images(), convolutional(), PGD(epsilon=0.1, steps=3)
    asked: list[int] = []
    network.module.register_forward_hook(lambda module, args, output: asked.append(len(output)))
    expected = evaluate(network, drawn, attack, fast=False)
    whole = sum(asked)
    asked.clear()
    known = logits(network, drawn)
    asked.clear()
    found = evaluate(network, drawn, attack, fast=False, clean_logits=known)
    assert_frame_equal(found.table, expected.table)
    assert sum(asked) == whole - len(drawn)
    for wrong in (known[1:], known[0]):
        with pytest.raises(
            AttackError, match=rf"clean_logits came as shape .*one row for each of the {len(drawn)} images"
        ):
            evaluate(network, drawn, attack, clean_logits=wrong)


def test_under_any_the_image_that_is_kept_is_the_first_that_is_misclassified():
    drawn = images(24)
    network = fitted(drawn)
    attack = PGD(epsilon=0.1, steps=5)
    found = evaluate(network, drawn, attack, iterate="any", keep_images=True, fast=False)
    whole = evaluate(network, drawn, attack, keep_images=True, fast=False)
    kept, predictions = found.adversarial[0], found.predictions[0]
    assert torch.equal(predictions, logits(network, ImageSet.of(kept, drawn.labels)).argmax(1))
    robust = dict(found.table.select("image", "robust_any").iter_rows())
    stands = torch.tensor([robust[name] for name in drawn.names])
    assert 0 < stands.sum() < len(drawn)
    assert torch.equal(predictions == drawn.labels, stands)
    assert torch.allclose(kept[stands], whole.adversarial[0][stands], atol=1e-6)
    early = (found.misclassified_after[0] >= 0) & (found.misclassified_after[0] < attack.steps)
    assert early.any()
    assert (kept - whole.adversarial[0]).abs().amax((1, 2, 3))[early].min() > 1e-4
    assert torch.equal(whole.predictions[0], logits(network, ImageSet.of(whole.adversarial[0], drawn.labels)).argmax(1))


def test_requests_that_cannot_be_are_refused():
    drawn = images()
    with pytest.raises(AttackError, match="at least one of each"):
        evaluate(convolutional(), drawn, [])
    with pytest.raises(AttackError, match="iterate = 'last'; expected 'both' or 'any'"):
        evaluate(convolutional(), drawn, PGD(epsilon=0.1), iterate="last")
    with pytest.raises(StudyError, match="there is no attack or corruption 'pdg'; did you mean 'pgd'"):
        make("pdg", {})
    with pytest.raises(DataError, match="expected \\[0, 1\\]"):
        images().of(torch.rand(2, 3, 4, 4) * 255, [0, 1])


@pytest.mark.parametrize(
    ("attacks", "told"),
    [
        ("pgd", "'pgd'"),
        (PGD, "the class PGD"),
        ([PGD(epsilon=0.1), None], "None"),
        (lambda module, pixels, labels: pixels, "<function"),
        ([[PGD(epsilon=0.1)]], "[PGD(epsilon=0.1"),
    ],
)
def test_what_is_no_attack_is_told_with_what_to_do(attacks, told):
    expected = rf"^the attack is {re.escape(told)}.*; expected one that was made, such as PGD\(.* in external\("
    with pytest.raises(AttackError, match=expected):
        evaluate(convolutional(), images(4), attacks)


def test_an_attack_without_stages_is_refused():
    class Nothing(PGD):
        stages = ()

    with pytest.raises(AttackError, match="pgd has no stages; expected at least one attack"):
        evaluate(convolutional(), images(4), Nothing(epsilon=0.1))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            {"misclassified": [False] * 4, "iterate": "any"},
            "misclassified came as list; expected one truth for each of",
        ),
        (
            {"misclassified": torch.zeros(4), "iterate": "any"},
            "misclassified came as shape (4,) and type torch.float32",
        ),
        ({"clean_logits": np.zeros((4, 4))}, "clean_logits came as ndarray; expected one row for each of the 4 images"),
        ({"clean_logits": torch.zeros(4, 4, dtype=torch.int64)}, "shape (4, 4) and type torch.int64; expected"),
        ({"names": ["pgd"]}, "names are ['pgd']; expected a name by attack"),
        ({"memory": "8 GB"}, "memory = '8 GB'; expected a manifoldscope.vision.memory.Memory"),
        ({"batch_size": None}, "batch_size = None; expected a whole number"),
        ({"batch_size": 0}, "batch_size = 0; expected at least 1"),
    ],
)
def test_arguments_of_another_type_are_told(argument, message):
    with pytest.raises((AttackError, ModelError), match=re.escape(message)):
        evaluate(convolutional(), images(4), PGD(epsilon=0.1, steps=1), **argument)


def test_images_that_are_known_to_be_misclassified_are_not_attacked():
    drawn = images(12)
    network = fitted(drawn)
    misclassified = torch.arange(len(drawn)) % 2 == 0
    attack = PGD(epsilon=0)
    table = evaluate(network, drawn, attack, iterate="any", misclassified=misclassified).table
    of = dict(zip(table["image"], table["robust_any"], strict=True))
    clean = evaluate(network, drawn, attack, iterate="any").table
    stood = dict(zip(clean["image"], clean["robust_any"], strict=True))
    gone = dict(zip(drawn.names, misclassified.tolist(), strict=True))
    assert of == {name: stood[name] and not gone[name] for name in drawn.names}
    with pytest.raises(AttackError, match="misclassified needs iterate='any'"):
        evaluate(network, drawn, attack, misclassified=misclassified)
    with pytest.raises(AttackError, match="one truth for each of the 12 images"):
        evaluate(network, drawn, attack, iterate="any", misclassified=misclassified[1:])


def test_a_plain_module_is_attacked_and_a_loader_is_not():
    drawn, attack = images(8), PGD(epsilon=0.05, steps=2)
    module = convolutional().module
    plain = evaluate(module, drawn, attack)
    assert plain.table.equals(evaluate(Network(module, name=type(module).__name__), drawn, attack).table)
    dataset = TensorDataset(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"pass ImageSet\.from_dataset\(loader\.dataset\)"):
        evaluate(module, DataLoader(dataset), attack)
    assert len(evaluate(module, ImageSet.from_dataset(dataset), attack).table) == 2
    with pytest.raises(ModelError, match=r"the network is str; pass a torch\.nn\.Module"):
        evaluate("resnet50", drawn, attack)


def test_what_is_given_twice_is_told_before_anything_is_attacked():
    network, drawn, asked = convolutional(), images(6), []

    def idle(module, pixels, labels):
        asked.append(len(pixels))
        return pixels

    twice = [external(idle, norm="linf", epsilon=0.1), external(lambda *given: idle(*given), norm="linf", epsilon=0.1)]
    for attacks in ([PGD(epsilon=0.1), PGD(epsilon=0.1)], [twice[0], replace(twice[1], name="idle")]):
        with pytest.raises(
            AttackError, match=r"at 0.1 is given 2 times; give each once, and attacks of other libraries"
        ):
            evaluate(network, drawn, attacks)
    with pytest.raises(DataError, match="the image 'arrays/all/2' is given 2 times"):
        evaluate(network, drawn.subset([0, 2, 2]), twice[0])
    assert not asked
