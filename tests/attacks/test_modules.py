"""Modules and processes as callers leave them: every attack says the same of them, or in a sentence why it cannot."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from manifoldscope.attacks import (
    APGDDLR,
    APGDT,
    CORRUPTIONS,
    PGD,
    AutoAttack,
    Square,
    evaluate,
    external,
    lipschitz_estimates,
    make,
    minimal_perturbation,
    re_evaluate,
    save_images,
    transfer,
)
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.vision.jacobian import jacobian_norms
from tests.attacks.networks import convolutional, images

ATTACKS = ("pgd", "apgd_ce", "apgd_dlr", "apgd_t", "fab_t", "square", "fmn", "rotation", "translation", "noise")


@pytest.fixture
def module():
    network = convolutional()
    return nn.Sequential(network.module).eval()


@pytest.fixture
def drawn():
    return images(6)


def attacked(module, drawn, kind):
    setting = {"rotation": "degrees", "translation": "shift"}.get(kind, "epsilon")
    few = (
        {"queries": 8} if kind == "square" else {"steps": 3} if kind not in ("rotation", "translation", "noise") else {}
    )
    attack = make(kind, {setting: 10.0 if kind == "rotation" else 0.1, **few})
    return attack(module, drawn.raw.pixels, drawn.labels)


@contextmanager
def default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


in_other_types = pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)


@in_other_types
@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_does_not_depend_on_the_default_type_and_device_of_the_process(module, drawn, kind, dtype):
    expected = attacked(module, drawn, kind)
    with default(dtype), torch.device("meta"):
        found = attacked(module, drawn, kind)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_searches_and_estimates_do_not_depend_on_either(module, drawn):
    def said():
        outcomes = evaluate(module, drawn, PGD(epsilon=0.1, steps=3)).table
        minimal = minimal_perturbation(module, drawn, steps=2, tolerance=0.5)
        steep = lipschitz_estimates(module, drawn, radius=0.1, samples=2).lipschitz
        return outcomes, minimal, steep.tolist(), jacobian_norms(module, drawn, n_projections=2).values.tolist()

    expected = said()
    with default(torch.float64), torch.device("meta"):
        assert str(said()) == str(expected)


@pytest.mark.parametrize("kind", CORRUPTIONS.names())
def test_a_corruption_does_not_depend_on_either(kind):
    clean = images(2, side=32).raw.pixels
    corruption = make(kind, {"severity": 3})
    expected = corruption.apply(clean, [1, 2])
    with default(torch.float64), torch.device("meta"):
        assert torch.equal(corruption.apply(clean, [1, 2]), expected)


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_label_that_the_module_has_no_output_for_is_named(module, kind):
    """On a GPU an index out of range ends the process."""
    unknown = images(6, n_classes=6)
    with pytest.raises(ModelError, match="has 4 outputs, but label 5 occurs"):
        attacked(module, unknown, kind)


@pytest.mark.parametrize(
    ("attack", "fewest"),
    [(APGDDLR(epsilon=0.1, steps=2), 3), (APGDT(epsilon=0.1, steps=2), 4), (AutoAttack(epsilon=0.1), 4)],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_too_few_classes_for_an_attack_are_told_before_it_runs_its_course(attack, fewest):
    drawn = images(4, n_classes=2)
    module, asked = convolutional(2).module, []
    module.register_forward_hook(lambda *_: asked.append(None))
    for attempt in (lambda: attack(module, drawn.raw.pixels, drawn.labels), lambda: evaluate(module, drawn, attack)):
        asked.clear()
        with pytest.raises(AttackError, match=f"and the network has 2 classes; expected at least {fewest}"):
            attempt()
        assert len(asked) < 12


def test_plain_modules_can_be_compared(drawn):
    class Other(nn.Sequential):
        pass

    modules = [convolutional(seed=seed).module for seed in (0, 1)]
    modules[1] = Other(modules[1]).eval()
    table = transfer(modules, drawn, PGD(epsilon=0.1, steps=2))
    assert set(table["source_model"]) == {"Sequential", "Other"}


def test_a_plain_module_saves_images_and_is_evaluated_on_them(module, drawn, tmp_path):
    attack = PGD(epsilon=0.1, steps=2)
    outcomes = evaluate(module, drawn, attack, keep_images=True)
    save_images(module, drawn, attack, outcomes, tmp_path / "images.safetensors")
    again = re_evaluate(module, tmp_path / "images.safetensors")
    assert again.table["robust_last"].equals(outcomes.table["robust_last"])


def test_a_frozen_script_is_attacked_as_its_module_is(module, drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, and such files are around
        frozen = torch.jit.freeze(torch.jit.script(module))
    for kind in ("pgd", "square"):
        torch.testing.assert_close(attacked(frozen, drawn, kind), attacked(module, drawn, kind), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", ["penultimate", "0.0"])
def test_layers_of_a_script_cannot_be_heard_and_a_script_within_a_module_is_no_hindrance(module, drawn, layer):
    expected = jacobian_norms(module, drawn, layer=layer, n_projections=1).values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for script in (torch.jit.script(module), torch.jit.trace(module, drawn.raw.pixels)):
            with pytest.raises(ModelError, match="is TorchScript, whose layers cannot be heard"):
                jacobian_norms(script, drawn, layer=layer)
        module[0][2] = torch.jit.script(module[0][2])
    assert torch.equal(jacobian_norms(module, drawn, layer=layer, n_projections=1).values, expected)


def test_an_exported_program_is_attacked_as_its_module_is(module, drawn):
    n_images = torch.export.Dim("n_images", min=1, max=1024)
    exported = torch.export.export(module, (drawn.raw.pixels,), dynamic_shapes=({0: n_images},)).module()
    for kind in ("pgd", "square"):
        torch.testing.assert_close(attacked(exported, drawn, kind), attacked(module, drawn, kind), rtol=0, atol=1e-6)
    outside = external(lambda network, pixels, labels: pixels, norm="linf", epsilon=0.1, name="none")
    assert evaluate(exported, drawn, outside).robust_accuracy == evaluate(module, drawn, outside).robust_accuracy


def test_what_cannot_be_copied_for_an_external_attack_is_named(module, drawn):
    module.lock = threading.Lock()
    with pytest.raises(AttackError, match=r"Sequential cannot be copied \(cannot pickle '_thread.lock' object\); take"):
        evaluate(module, drawn, external(lambda network, pixels, labels: pixels, norm="linf", epsilon=0.1, name="none"))


def test_weights_made_in_inference_mode_have_no_gradient_and_keep_their_flags(drawn):
    with torch.inference_mode():
        module = convolutional().module
    with pytest.raises(ModelError, match=r"made under torch.inference_mode, and no gradient leads through them"):
        PGD(epsilon=0.1)(module, drawn.raw.pixels, drawn.labels)
    assert Square(epsilon=0.1, queries=3)(module, drawn.raw.pixels, drawn.labels).shape == drawn.raw.pixels.shape
    assert all(parameter.requires_grad for parameter in module.parameters())


class Counted(nn.Module):
    """Half precision behind a whole number that is a parameter too, as a counter of steps may be."""

    def __init__(self, module):
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)
        self.module = module.half()

    def forward(self, pixels):
        return self.module(pixels)


def test_pixels_come_in_the_type_of_the_first_parameter_that_is_no_whole_number(drawn):
    assert (
        PGD(epsilon=0.1, steps=2)(Counted(convolutional().module), drawn.raw.pixels, drawn.labels).dtype
        == torch.float32
    )


def test_weights_without_numbers_are_refused(drawn):
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 4, device="meta"))
    with pytest.raises(ModelError, match=r"on the meta device, which holds no numbers \(1.weight\)"):
        PGD(epsilon=0.1)(module, drawn.raw.pixels, drawn.labels)


def test_a_network_that_does_not_take_the_images_is_told_by_their_shape(module, drawn):
    last = drawn.raw.pixels.movedim(1, -1)  # channels last, as other libraries have them
    for attempt in (
        lambda: PGD(epsilon=0.1, steps=2)(module, last, drawn.labels),
        lambda: next(PGD(epsilon=0.1, steps=2).run(module, last, drawn.labels)),
    ):
        with pytest.raises(ModelError, match=r"Sequential cannot take images of shape \(8, 8, 3\): Given groups=1"):
            attempt()


@pytest.mark.parametrize(
    "error", [KeyError("size"), AttributeError("size"), ZeroDivisionError("size"), StopIteration()]
)
def test_whatever_a_network_raises_is_told_in_a_sentence(module, drawn, error):
    def fail(*_):
        raise error

    module[0].register_forward_pre_hook(fail)
    for attempt in (
        lambda: PGD(epsilon=0.1, steps=2)(module, drawn.raw.pixels, drawn.labels),
        lambda: next(PGD(epsilon=0.1, steps=2).run(module, drawn.raw.pixels, drawn.labels)),
        lambda: evaluate(module, drawn, PGD(epsilon=0.1)),
    ):
        with pytest.raises(ModelError, match=r"Sequential cannot take images of shape \(3, 8, 8\): ('?size|StopIter)"):
            attempt()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_an_attack_takes_images_of_as_many_channels_as_the_module_does(channels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(channels * 6, 4))
        pixels = 0.25 + torch.rand(3, channels, 2, 3) / 2
    labels = module(pixels).argmax(1)
    for kind in ("pgd", "apgd_t", "fab_t", "square", "fmn"):
        moved = make(kind, {"epsilon": 0.2})(module, pixels, labels)
        assert moved.shape == pixels.shape
        assert (module(moved).argmax(1) != labels).all()


def test_a_network_without_a_class_for_any_image_is_told(module, drawn):
    class Masked(nn.Module):
        def forward(self, pixels):
            logits = module(pixels)
            return torch.where(logits == logits.amax(1, keepdim=True), logits, -torch.inf)

    for attempt in (
        lambda: PGD(epsilon=0.1, steps=2)(Masked(), drawn.raw.pixels, drawn.labels),
        lambda: evaluate(Masked(), drawn, PGD(epsilon=0.1, steps=2)),
    ):
        with pytest.raises(ModelError, match=r"for all 6 images; .* a large negative logit, not -inf"):
            attempt()


def test_parameters_of_several_types_are_named(module, drawn):
    module[0][4].double()
    with pytest.raises(
        ModelError, match=r"of several types \(torch.float32, torch.float64\).* as module.float\(\) does"
    ):
        PGD(epsilon=0.1, steps=2)(module, drawn.raw.pixels, drawn.labels)
