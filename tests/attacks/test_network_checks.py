"""What is seen of a network without attacking it: a row fails on its planted fault, and on no ordinary network."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from manifoldscope.attacks import ATTACKS, CORRUPTIONS, PGD, Square, evaluate, lipschitz_estimates
from manifoldscope.attacks.checks import network_checks, normalisation_checks
from manifoldscope.attacks.checks.labels import label_order
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.study.store import Store
from manifoldscope.vision.gradient import WITHOUT_GRADIENTS, NoGradientError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.small import build
from tests.attacks.networks import convolutional, fitted, images
from tests.study import tiny


@pytest.fixture(scope="module")
def known():
    drawn = images(48)
    return fitted(drawn), drawn


@pytest.fixture(scope="module")
def black_and_white():
    """Images most of whose pixels are 0 or 1, as in MNIST."""
    drawn = images(24)
    return ImageSet.of((3 * drawn.raw.pixels - 1).clamp(0, 1), drawn.labels)


def rows_of(network, drawn, **how):
    return {row["check"]: row for row in network_checks(network, drawn, **how)}


def flagged(network, drawn, **how):
    return {name for name, row in rows_of(network, drawn, **how).items() if row["passed"] is False}


class Around(nn.Module):
    """A network within another one."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner


# --- ordinary networks ------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """A small vision transformer: attention within each image."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 2, stride=2)
        self.block = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, pixels):
        return self.head(self.block(self.embed(pixels).flatten(2).transpose(1, 2)).mean(1))


ORDINARY = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)),
    "cnn": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 4)),
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)
    ),
    "attention": Attention,
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 4)),
}


def ordinary(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ORDINARY[name]()
        module(torch.rand(8, 3, 8, 8))
    return Network(module, name=name)  # left in training mode: who looks at it puts it into the other one


@pytest.mark.parametrize("batch_size", [1, 2, 7, 128])
@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_network_raises_no_flag(name, batch_size, known, black_and_white):
    network = ordinary(name)
    for drawn in (known[1], black_and_white):
        rows = rows_of(network, drawn, batch_size=batch_size)
        assert {name for name, row in rows.items() if row["passed"] is not True} == set()
        assert rows["batch independence"]["value"] < 1e-5  # rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ORDINARY)
def test_other_precisions_are_judged_in_float32(name, dtype, known):
    network = ordinary(name)
    module = network.module.to(dtype)
    assert network(known[1].raw.pixels[:3]).dtype == torch.float32
    assert flagged(network, known[1]) == set()
    found = evaluate(Network(module), known[1], PGD(epsilon=0.1, steps=2))
    assert found.failures.n_without_gradient == 0


# --- state ------------------------------------------------------------------------------------------------------------


class Passes(Around):
    """Counts its passes in a buffer that no file of weights holds."""

    def __init__(self, inner):
        super().__init__(inner)
        self.register_buffer("n_passes", torch.zeros(()), persistent=False)

    def forward(self, pixels):
        self.n_passes += 1
        return self.inner(pixels)


def test_a_buffer_that_no_file_holds_is_state_too(known):
    network, drawn = known
    with pytest.warns(UserWarning, match="changed the buffer 'n_passes'"):
        row = rows_of(replace(network, module=Passes(network.module)), drawn)["state"]
    assert (row["passed"], row["note"]) == (False, "n_passes")


def test_a_buffer_that_is_gone_is_a_change(known):
    network, drawn = known

    class Forgets(Passes):
        def forward(self, pixels):
            self.n_passes = None
            return self.inner(pixels)

    with pytest.warns(UserWarning, match="changed the buffer 'n_passes'"):
        row = rows_of(replace(network, module=Forgets(network.module)), drawn)["state"]
    assert (row["passed"], row["note"]) == (False, "n_passes")


class Lazy(Around):
    """Makes its buffers in its first pass: one that is none before, and one that is not there."""

    def __init__(self, inner):
        super().__init__(inner)
        self.register_buffer("grid", None)

    def forward(self, pixels):
        if self.grid is None:
            self.grid = torch.zeros_like(pixels[:1])
            self.register_buffer("shift", torch.zeros_like(pixels[:1]))
        return self.inner(pixels + self.grid + self.shift)


def test_what_the_first_pass_makes_is_no_change(known):
    network, drawn = known
    assert flagged(replace(network, module=Lazy(network.module)), drawn) == set()


def test_a_buffer_of_nan_has_not_changed(known):
    network, drawn = known
    module = Around(network.module)
    module.forward = network.module.forward
    module.register_buffer("unused", torch.full((2,), torch.nan))
    assert flagged(replace(network, module=module), drawn) == set()


class Parts(nn.Module):
    """Its parts are in a plain list, of which torch knows nothing."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = list(parts)

    def forward(self, pixels):
        for part in self.parts:
            pixels = part(pixels)
        return pixels


def test_parts_that_stay_in_training_mode_are_named(known):
    network, drawn = known
    with torch.random.fork_rng():
        inner = nn.Sequential(Parts(nn.Dropout(0.0), network.module))
        row = rows_of(replace(network, module=inner), drawn)["state"]
        assert row["passed"] is False
        assert row["note"].startswith("0.parts: modules in a plain list")
        inner[0].parts[0].eval()
        assert rows_of(replace(network, module=inner), drawn)["state"]["passed"] is True


# --- images that depend on those beside them --------------------------------------------------------------------------


class BatchStatistics(Around):
    """Batch norm without running statistics."""

    def forward(self, pixels):
        return self.inner(F.batch_norm(pixels, None, None, training=True))


class FirstImage(Around):
    """An error: the first image's statistics for all."""

    def forward(self, pixels):
        return self.inner(pixels - pixels[:1].mean((1, 2, 3), keepdim=True) + 0.5)


class AcrossImages(Around):
    """Attention over the batch, by a wrong batch_first."""

    def forward(self, pixels):
        logits = self.inner(pixels)
        return torch.softmax(F.cosine_similarity(logits[:, None], logits, dim=2), dim=1) @ logits


class LastImage(Around):
    """Only the last image of a batch depends on another one."""

    def forward(self, pixels):
        logits = self.inner(pixels)
        return torch.cat([logits[:-1], (logits[-1:] + logits[:1]) / 2])


class OneByOne(Around):
    """Squeezes a batch of one image to nothing."""

    def forward(self, pixels):
        return self.inner(pixels).squeeze(0)


class Vectors(nn.Module):
    """Batch norm of vectors without running statistics, which refuses a single image."""

    def __init__(self, inner):
        super().__init__()
        self.layers = nn.Sequential(inner, nn.BatchNorm1d(4, track_running_stats=False))

    def forward(self, pixels):
        return self.layers(pixels)


@pytest.mark.parametrize("plant", [BatchStatistics, FirstImage, AcrossImages, LastImage])
@pytest.mark.parametrize("batch_size", [2, 5, 48])
def test_logits_that_depend_on_the_images_beside_them(known, plant, batch_size):
    network, drawn = known
    row = rows_of(replace(network, module=plant(network.module)), drawn, batch_size=batch_size)["batch independence"]
    assert row["passed"] is False
    assert row["value"] > 2e-3
    assert "track_running_stats=True" in row["note"]


@pytest.mark.parametrize(
    ("plant", "said"), [(OneByOne, r"gives shape \(4,\) for 1 images"), (Vectors, "cannot of a single image")]
)
def test_a_network_that_refuses_an_image_alone(known, plant, said):
    network, drawn = known
    network = replace(network, module=plant(network.module))
    row = rows_of(network, drawn)["batch independence"]
    assert row["passed"] is False
    assert "shown alone, images are refused" in row["note"]
    with pytest.raises(ModelError, match=said):
        evaluate(network, drawn, PGD(epsilon=0.1))


def test_a_random_network_is_not_judged_by_its_batches(known):
    network, drawn = known

    class Noisy(Around):
        def forward(self, pixels):
            return self.inner(pixels + 0.05 * torch.randn_like(pixels))

    assert rows_of(replace(network, module=Noisy(network.module)), drawn)["batch independence"]["passed"] is None


def test_a_network_that_changes_with_each_gradient_is_not_deterministic(known):
    network, drawn = known

    class Adapting(Around):
        """Follows what it is shown, as test-time adaptation does, in a tensor that is no buffer."""

        mean = torch.zeros(3, 8, 8)

        def forward(self, pixels):
            if pixels.requires_grad:
                self.mean = self.mean + pixels.detach().mean(0) / 100
            return self.inner(pixels + self.mean)

    rows = rows_of(replace(network, module=Adapting(network.module)), drawn)
    assert rows["determinism"]["passed"] is False


def test_a_network_that_insists_on_pixels_within_0_and_1_is_shown_no_others(known, black_and_white):
    network, grey = known

    class Strict(Around):
        def forward(self, pixels):
            assert pixels.min() >= 0
            assert pixels.max() <= 1
            return self.inner(pixels)

    strict = replace(network, module=Strict(network.module), mean=(0,), std=(1,))
    for drawn in (grey, black_and_white):
        assert flagged(strict, drawn) == set()
        assert evaluate(strict, drawn, PGD(epsilon=0.1, steps=2)).failures.n_without_class == 0


# --- gradients --------------------------------------------------------------------------------------------------------


class Before(Around):
    """A step before the network."""

    def __init__(self, inner, step):
        super().__init__(inner)
        self.step = step

    def forward(self, pixels):
        return self.inner(self.step(pixels))


def blocks_at_bounds() -> bool:
    """Whether this torch gives `clamp` no gradient where its input is a bound; 2.6 gives 1, as between them."""
    pixel = torch.zeros(1, requires_grad=True)
    pixel.clamp(0, 1).sum().backward()
    return not pixel.grad


needs_blocked_bounds = pytest.mark.skipif(not blocks_at_bounds(), reason="this torch has gradients at the bounds")


CLAMPS = {
    "both": lambda pixels: pixels.clamp(0, 1),
    "black": torch.relu,
    "white": lambda pixels: pixels.clamp(max=1),
    "one channel": lambda pixels: torch.cat([pixels[:, :1].clamp(0, 1), pixels[:, 1:]], 1),
    "levels": lambda pixels: (255 * pixels).clamp(0, 255) / 255,
}


@pytest.mark.parametrize(
    "clamp", [pytest.param(name, marks=[] if name == "black" else needs_blocked_bounds) for name in CLAMPS]
)
def test_a_clamp_that_cuts_gradients_off_at_the_bounds(known, black_and_white, clamp):
    network, grey = known
    network = replace(network, module=Before(network.module, CLAMPS[clamp]), mean=(0,), std=(1,))
    for drawn in (grey, black_and_white):  # also where no image has a pixel of 0 or 1 itself
        assert flagged(network, drawn) == {"gradient at 0 and 1"}
    note = rows_of(network, grey)["gradient at 0 and 1"]["note"]
    assert (" 0.0% of the pixels at 1" in note) == (clamp == "black")
    assert (" 0.0% of the pixels at 0" in note) == (clamp == "white")


def test_a_clamp_behind_a_normalisation_is_seen_too(known, black_and_white):
    network, _ = known
    network = replace(network, mean=(0.1307,), std=(0.3081,))
    clamp = Before(network.module, lambda seen: seen.clamp(-0.4242, 2.8215))  # the bounds, as they are quoted
    assert flagged(replace(network, module=clamp), black_and_white) == {"gradient at 0 and 1"}


@pytest.mark.parametrize("clamp", [(0.02, 0.98), (0.1, 0.9), (0.1, 1.5)])
def test_a_clamp_that_begins_within_the_bounds_is_seen(known, black_and_white, clamp):
    """Pixels beyond it have no gradient, and an attack would have to move them across."""
    network, grey = known
    network = replace(network, module=Before(network.module, lambda pixels: pixels.clamp(*clamp)), mean=(0,), std=(1,))
    for drawn in (grey, black_and_white):
        row = rows_of(network, drawn)["gradient at 0 and 1"]
        assert row["passed"] is False
        assert "100.0% of the pixels at 0" in row["note"]
        assert "which have a gradient 0.125 inside" in row["note"]


def test_a_clamp_beyond_the_bounds_does_no_harm(known, black_and_white):
    network, _ = known
    wide = Before(network.module, lambda pixels: pixels.clamp(-10, 10))
    assert flagged(replace(network, module=wide), black_and_white) == set()


class WithoutGradient(Around):
    @torch.no_grad()
    def forward(self, pixels):
        return self.inner(pixels)


class Inference(Around):
    @torch.inference_mode()
    def forward(self, pixels):
        return self.inner(pixels)


class CutOff(Around):
    """Its pixels are cut off from logits that have a gradient otherwise: by a tensor that is no parameter."""

    def __init__(self, inner):
        super().__init__(inner)
        self.scale = torch.ones((), requires_grad=True)

    def forward(self, pixels):
        return self.scale * self.inner(pixels.detach())


class SwitchedOff(Around):
    """Switches gradients off, and not on again."""

    def forward(self, pixels):
        torch.set_grad_enabled(False)
        return self.inner(pixels)


class ForwardAlone(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pixels):
        return pixels.clone()


class LostOnTheWayBack(ForwardAlone):
    @staticmethod
    def backward(ctx, gradient):
        raise KeyError("scale")


@pytest.mark.parametrize(
    "plant",
    [
        WithoutGradient,
        Inference,
        lambda inner: Before(inner, torch.Tensor.detach),
        CutOff,
        SwitchedOff,
        lambda inner: Before(inner, ForwardAlone.apply),
        lambda inner: Before(inner, LostOnTheWayBack.apply),
    ],
)
def test_a_network_without_a_gradient_fails_its_row_and_takes_the_attacks_that_need_none(known, plant):
    network, drawn = known
    network = replace(network, module=plant(network.module))
    rows = rows_of(network, drawn)
    assert {name for name, row in rows.items() if row["passed"] is False} == {"vanishing gradient"}
    assert rows["gradient at 0 and 1"]["passed"] is None
    for attacked in (
        lambda: evaluate(network, drawn, PGD(epsilon=0.1)),
        lambda: lipschitz_estimates(network, drawn, norm="linf", radius=0.1),
        lambda: PGD(epsilon=0.1)(network, drawn.raw.pixels, drawn.labels),
    ):
        with pytest.raises(NoGradientError, match="noise, square, rotation, translation and the corruptions"):
            attacked()
    assert len(evaluate(network, drawn, Square(epsilon=0.1, queries=3)).table) == len(drawn)


def test_gradients_stay_on_where_a_network_switches_them_off(known):
    network, drawn = known
    replace(network, module=SwitchedOff(network.module))(drawn.raw.pixels)
    assert torch.is_grad_enabled()


def test_what_fails_on_the_way_back_is_told(known):
    network, drawn = known
    network = replace(network, module=Before(network.module, LostOnTheWayBack.apply))
    assert rows_of(network, drawn)["vanishing gradient"]["note"].startswith(
        "the backward pass of convolutional fails ('scale'). Give what it calls a derivative, or keep to the attacks"
    )


def test_a_network_that_fails_is_told_with_how_many_images_it_was_shown(known):
    network, drawn = known

    def few(pixels):
        if len(pixels) > 9:
            raise KeyError("batch")
        return pixels

    few = replace(network, module=Before(network.module, few))
    for look in (network_checks, lambda *given: evaluate(*given, PGD(epsilon=0.1))):
        with pytest.raises(ModelError, match=r"cannot take images of shape \(3, 8, 8\), 48 at a time: 'batch'"):
            look(few, drawn)


def test_the_attacks_that_need_no_gradient_are_those_of_the_sentence():
    kinds = {name for name in ATTACKS.names() if not ATTACKS[name].target.asks_gradients}
    assert kinds == set(WITHOUT_GRADIENTS)
    assert not any(CORRUPTIONS[name].target.asks_gradients for name in CORRUPTIONS.names())


def test_a_gradient_of_nan_fails_its_row(known):
    network, drawn = known

    def root(pixels):  # the square root has an infinite gradient at 0, and zero times infinity is NaN
        return pixels + (pixels * 0).sqrt()

    rows = rows_of(replace(network, module=Before(network.module, root)), drawn)
    assert rows["vanishing gradient"]["passed"] is False
    assert rows["vanishing gradient"]["value"] == 1
    assert "NaN or infinity in the gradient of 48 of 48 images" in rows["vanishing gradient"]["note"]


class OtherGradient(torch.autograd.Function):
    """The same values, and of their gradient whatever a function makes."""

    @staticmethod
    def forward(ctx, values, change):
        ctx.change = change
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.change(gradient), None


def gradient_as(change):
    return lambda pixels: OtherGradient.apply(pixels, change)


WRONG = {
    "sign": gradient_as(torch.neg),
    "noise": gradient_as(torch.randn_like),
    "the order of pixels": gradient_as(lambda gradient: gradient.flip(3)),
    "half of the image": lambda pixels: torch.cat([pixels[:, :, :4].detach(), pixels[:, :, 4:]], 2),
    "two channels": gradient_as(lambda gradient: torch.cat([gradient[:, :1], 0 * gradient[:, 1:]], 1)),
    "one branch": lambda pixels: pixels.roll(1, 3) / 2 + pixels.detach(),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_gradient_that_does_not_say_how_the_logits_change(known, wrong):
    network, drawn = known
    module = Before(network.module, WRONG[wrong])
    for few in (drawn, drawn.subset(range(3))):
        assert flagged(replace(network, module=module), few) == {"finite differences"}
    row = rows_of(replace(network, module=module), drawn)["finite differences"]
    assert row["value"] < 0.85
    assert "straight-through estimator" in row["note"]


CUT = {
    "one pixel in a hundred": lambda pixels: torch.where(
        torch.arange(192).view(3, 8, 8) % 97 == 0, pixels.detach(), pixels
    ),
    "the border": lambda pixels: (
        F.pad(pixels[:, :, 1:-1, 1:-1], (1,) * 4) + (pixels - F.pad(pixels[:, :, 1:-1, 1:-1], (1,) * 4)).detach()
    ),
    "bright pixels": lambda pixels: torch.where(pixels > 0.9, pixels.detach(), pixels),
}


@pytest.mark.parametrize("cut", CUT)
def test_a_few_pixels_without_a_gradient_hardly_change_a_cosine_and_are_seen(known, cut):
    network, drawn = known
    network = replace(network, module=Before(network.module, CUT[cut]), mean=(0,), std=(1,))
    at_bounds = {"gradient at 0 and 1"} if cut == "bright pixels" else set()
    assert flagged(network, drawn) == {"finite differences"} | at_bounds
    assert "those without a gradient change logits by" in rows_of(network, drawn)["finite differences"]["note"]


RIGHT = {
    "scale": (gradient_as(lambda gradient: 1e-12 * gradient), True),
    "most of it": (lambda pixels: 0.1 * pixels + 0.9 * pixels.detach(), True),
    "straight through 64 levels": (lambda pixels: pixels + ((pixels * 64).round() / 64 - pixels).detach(), True),
    "no slope": (lambda pixels: pixels + 1e8, None),  # which no pixel survives in float32
}


@pytest.mark.parametrize("right", RIGHT)
def test_a_gradient_that_says_it_up_to_a_factor_or_in_the_large_passes(known, right):
    network, drawn = known
    step, passed = RIGHT[right]
    module = Before(network.module, step)
    assert rows_of(replace(network, module=module), drawn)["finite differences"]["passed"] is passed


def test_a_gradient_that_is_wrong_near_other_classes_alone(known):
    """Where the margin is small, as attacks find it and clean images hardly have it."""
    network, drawn = known
    with torch.no_grad():
        margins = network(drawn.raw.pixels).topk(2).values.diff(dim=1).abs()

    def near(logits):
        close = logits.topk(2).values.diff(dim=1).abs() < 0.9 * margins.min()
        return torch.where(close, OtherGradient.apply(logits, torch.neg), logits)

    wrong = replace(network, module=Giving(network.module, near))
    assert flagged(wrong, drawn) == {"finite differences"}
    assert rows_of(wrong, drawn)["finite differences"]["note"].startswith("halfway between two images: ")


def test_a_gradient_of_the_wrong_sign_for_a_few_images_alone(known):
    network, drawn = known
    few = drawn.raw.pixels[[2, 4]]  # of which finite differences see none

    def some(pixels):
        away = (pixels.detach()[:, None] - few).abs().amax((2, 3, 4))
        wrong = (away < 0.01).any(1).view(-1, 1, 1, 1)
        return OtherGradient.apply(pixels, lambda gradient: torch.where(wrong, -gradient, gradient))

    network = replace(network, module=Before(network.module, some), mean=(0,), std=(1,))
    assert flagged(network, drawn) == {"finite differences"}
    assert rows_of(network, drawn)["finite differences"]["note"].startswith(
        "the margin of 2 of 24 images falls where their own gradients say that it rises"
    )


def test_a_network_that_says_nothing_halfway_is_judged_by_the_images_themselves(known):
    network, drawn = known

    def known_alone(pixels):
        away = torch.cdist(pixels.flatten(1), drawn.raw.pixels.flatten(1)).amin(1)
        return torch.where(away.view(-1, 1, 1, 1) > 0.5, torch.nan, pixels)

    alone = replace(network, module=Before(network.module, known_alone), mean=(0,), std=(1,))
    assert rows_of(alone, drawn)["finite differences"]["passed"] is True


class AsksForGradients(Around):
    """A defence in the way of whoever asks for no gradient."""

    def forward(self, pixels):
        return self.inner(pixels if torch.is_grad_enabled() else pixels.roll(1, 3))


def test_logits_that_differ_where_a_gradient_is_asked_for(known):
    network, drawn = known
    network = replace(network, module=AsksForGradients(network.module))
    assert flagged(network, drawn) == {"finite differences"}
    assert "where a gradient is asked for" in rows_of(network, drawn)["finite differences"]["note"]


def test_a_gradient_that_is_wrong_for_the_last_class_alone(known):
    """Classes stand one after another, as a study draws them."""
    network, drawn = known
    classes = drawn.subset(drawn.labels.argsort())

    class LastClass(Around):
        def forward(self, pixels):
            logits = self.inner(pixels)
            last = (logits.argmax(1) == 3)[:, None]
            return torch.where(last, OtherGradient.apply(logits, torch.neg), logits)

    for batch_size in (16, 128):
        wrong = replace(network, module=LastClass(network.module))
        assert flagged(wrong, classes, batch_size=batch_size) == {"finite differences"}


def test_logits_that_only_the_likeliest_class_has_a_gradient_for(known):
    network, drawn = known

    def likeliest(logits):
        return torch.where(logits == logits.amax(1, keepdim=True), logits, logits.detach())

    assert "finite differences" in flagged(replace(network, module=Giving(network.module, likeliest)), drawn)


@pytest.mark.parametrize(("change", "passed"), [(torch.neg, False), (torch.clone, True)])
def test_a_gradient_is_seen_where_logits_curve_within_a_ten_thousandth(known, change, passed):
    network, drawn = known  # as those of a ResNet-50 do

    def curved(pixels):
        return gradient_as(change)(pixels + (9_000 * pixels).sin() / 3_000)

    row = rows_of(replace(network, module=Before(network.module, curved)), drawn)["finite differences"]
    assert row["passed"] is passed


def test_weights_made_in_inference_mode_fail_the_row_of_gradients_alone(known):
    _, drawn = known
    with torch.inference_mode():
        module = convolutional().module
    assert flagged(Network(module), drawn) == {"vanishing gradient"}


@pytest.mark.parametrize("pack", [torch.Tensor.half, torch.Tensor.bfloat16])
@pytest.mark.parametrize("first", range(0, 40, 8))
def test_slopes_that_are_rounded_away_say_nothing(known, pack, first):
    network, drawn = known
    rounded = replace(network, module=Giving(network.module, lambda logits: pack(10 * logits)))
    assert rows_of(rounded, drawn.subset(range(first, first + 8)))["finite differences"]["passed"] is not False


# --- what a module gives ----------------------------------------------------------------------------------------------

Output = namedtuple("Output", ["aux", "logits"])


class HuggingFace(dict):
    """As their outputs: a dict with attributes."""

    __getattr__ = dict.__getitem__


class Giving(Around):
    """A network whose logits are packed into something."""

    def __init__(self, inner, pack):
        super().__init__(inner)
        self.pack = pack

    def forward(self, pixels):
        return self.pack(self.inner(pixels))


PACKS = {
    "dict": lambda logits: {"aux": logits[:, :2], "logits": logits},
    "model output": lambda logits: HuggingFace(loss=None, logits=logits),
    "named tuple": lambda logits: Output(aux=logits[:, :2], logits=logits),
    "tuple": lambda logits: (logits, logits.sum()),
    "auxiliary logits": lambda logits: (logits, -logits),
    "list": lambda logits: [logits],
    "half": torch.Tensor.half,
    "double": torch.Tensor.double,
}


@pytest.mark.parametrize("pack", PACKS)
def test_logits_are_found_where_it_is_clear_which_they_are(known, pack):
    network, drawn = known
    packed = replace(network, module=Giving(network.module, PACKS[pack]))
    given, plain = packed(drawn.raw.pixels), network(drawn.raw.pixels)
    assert given.dtype == torch.float32
    torch.testing.assert_close(given, plain, rtol=1e-3 if pack == "half" else 0, atol=0)
    assert flagged(packed, drawn) <= ({"vanishing gradient"} if pack == "half" else set())  # small ones round to 0
    assert len(evaluate(packed, drawn, PGD(epsilon=0.1, steps=2)).table) == len(drawn)


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (lambda logits: {"out": logits}, "gives a dict with the keys 'out' for 2 images; expected logits"),
        (
            lambda logits: (logits.new_zeros(2, 9), logits),
            r"gives a tuple of \(2, 9\), \(2, 4\), of which it is not clear which are the logits for 2 images",
        ),
        (lambda logits: (None, logits), r"gives a tuple of NoneType, \(2, 4\) for 2 images; .* Wrap it in a module"),
        (lambda logits: None, "gives NoneType for 2 images"),
        (lambda logits: list(logits.repeat(4, 1)), r"gives a list of \(4,\), \(4,\), \(4,\) and 5 more for 2 images"),
        (lambda logits: logits[:, :1], "gives 1 logit for each image; expected one for each class. .* give two"),
        (lambda logits: logits.argmax(1), r"gives shape \(2,\) and type torch.int64"),
        (lambda logits: logits[:1], r"gives shape \(1, 4\) for 2 images"),
        (torch.Tensor.to_sparse, r"gives a sparse_coo tensor for 2 images; .* as a dense one, which .to_dense\(\)"),
        (lambda logits: logits.to_mkldnn(), "gives a mkldnn tensor for 2 images"),
        (lambda logits: logits.to("meta"), "gives a meta tensor for 2 images"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(known, pack, message):
    network, drawn = known
    with pytest.raises(ModelError, match=message):
        replace(network, module=Giving(network.module, pack))(drawn.raw.pixels[:2])


def test_outputs_of_a_sigmoid_are_no_logits(known):
    network, drawn = known
    row = rows_of(replace(network, module=Giving(network.module, torch.sigmoid)), drawn)["logits"]
    assert row["passed"] is False
    assert "outputs lie in [0, 1], as behind a sigmoid" in row["note"]
    near_a_half = Giving(network.module, lambda logits: 0.5 + 0.01 * logits)  # as those of random weights may be
    assert flagged(replace(network, module=near_a_half), drawn) == set()


@pytest.mark.parametrize(
    ("pack", "passed"),
    [
        (lambda logits: 100 * logits.softmax(1), False),
        (lambda logits: logits + 1e6, True),  # whose sums are alike up to rounding
        (lambda logits: 0 * logits, True),
    ],
)
def test_shares_of_any_sum_are_no_logits(known, pack, passed):
    network, drawn = known
    row = rows_of(replace(network, module=Giving(network.module, pack)), drawn)["logits"]
    assert row["passed"] is passed
    assert row["note"].startswith("outputs are at least 0 and sum to 100, as behind a softmax") is not passed


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (lambda logits: torch.tanh(3 * logits), "lie in [-1, 1] and reach both ends, as behind a tanh"),
        (lambda logits: 2 * (9 * logits).softmax(1) - 1, "lie in [-1, 1] and reach both ends, as behind a tanh"),
        (lambda logits: torch.where(logits == logits.amax(1, keepdim=True), logits, 0), "but the largest are equal"),
        (lambda logits: 30 * torch.tanh(logits / 30), ""),
        (lambda logits: logits[:, :2], ""),  # of two classes the other one is always alone
    ],
)
def test_outputs_that_were_squashed_or_chosen_are_no_logits(known, pack, said):
    network, drawn = known
    two = drawn.subset(drawn.labels < 2)
    row = rows_of(replace(network, module=Giving(network.module, pack)), two)["logits"]
    assert row["passed"] is not bool(said)
    assert said in row["note"]


def test_an_output_for_the_background_shifts_all_classes(known):
    network, drawn = known
    with_background = Giving(network.module, lambda logits: torch.cat([logits[:, :1] * 0 - 100, logits], 1))
    row = rows_of(replace(network, module=with_background), drawn)["label order"]
    assert row["passed"] is False
    assert "100.0% with 1 for 0, 2 for 1, 3 for 2, 4 for 3; look up the order" in row["note"]


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 1, 3, 2]])
def test_classes_that_are_exchanged_are_named(known, order):
    network, drawn = known
    exchanged = replace(network, module=Giving(network.module, lambda logits: logits[:, order]))
    row = rows_of(exchanged, drawn)["label order"]
    assert row["passed"] is False
    moved = [f"{order.index(label)} for {label}" for label in range(4) if order[label] != label]
    assert f"100.0% with {', '.join(moved)}; look up the order" in row["note"]


def test_classes_in_another_order_altogether_are_told_though_accuracy_is_at_chance(known):
    network, drawn = known
    row = rows_of(replace(network, module=Giving(network.module, lambda logits: logits.flip(1))), drawn)["label order"]
    assert row["passed"] is False
    assert "0.0% as it is, 100.0% with 3 for 0, 2 for 1, 1 for 2, 0 for 3" in row["note"]


def test_the_first_of_many_exchanged_classes_are_named():
    labels = torch.arange(40).repeat(5)
    row = label_order((labels + 1) % 40, labels)
    assert row["note"].count(" for ") == 10
    assert "10 for 9 and 30 more; look up the order" in row["note"]


def test_a_class_that_is_taken_for_another_is_no_exchange(known):
    network, drawn = known
    blind = replace(network, module=Giving(network.module, lambda logits: logits - torch.tensor([100.0, 0, 0, 0])))
    assert rows_of(blind, drawn)["label order"]["passed"] is True


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("given", [torch.float32, None])
def test_logits_that_a_float32_network_rounds_may_tip_with_the_size_of_the_batch(known, dtype, given):
    network, drawn = known

    def rounded(logits):  # as within an autocast; rounding of float32 depends on the batch a little
        return (logits + 1e-4 * len(logits)).to(dtype).to(given or dtype)

    row = rows_of(replace(network, module=Giving(network.module, rounded)), drawn)["batch independence"]
    assert row["passed"] is True
    assert 0 < row["value"] < 0.02


def test_pixels_that_were_divided_twice(known):
    network, drawn = known
    row = rows_of(network, ImageSet.of(drawn.raw.pixels / 255, drawn.labels))["input contract"]
    assert row["passed"] is False
    assert "divided by 255 twice" in row["note"]
    dark = ImageSet.of((drawn.raw.pixels * 10).to(torch.uint8), drawn.labels)
    assert rows_of(network, dark)["input contract"]["passed"] is True


def test_without_images_nothing_is_said(known):
    network, drawn = known
    for checks in (network_checks, normalisation_checks):
        with pytest.raises(AttackError, match="0 images; expected at least one"):
            checks(network, drawn.subset([]))


def test_labels_beyond_the_logits_are_refused(known):
    network, drawn = known
    narrow = replace(network, module=Giving(network.module, lambda logits: logits[:, :2]))
    with pytest.raises(ModelError, match="has 2 outputs, but label 3 occurs"):
        network_checks(narrow, drawn)


# --- mean and std -----------------------------------------------------------------------------------------------------


def faint(n=60):
    """Images of two classes that differ by the sign of the mean pixel about 0.5."""
    labels = torch.arange(n) % 2
    noise = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return ImageSet.of(0.1 * noise + torch.where(labels == 1, 0.6, 0.3).view(-1, 1, 1, 1), labels)


def by_sign(scale=1.0):
    """A network that asks whether the mean of what it sees is above 0."""
    layer = nn.Linear(3 * 64, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 192) * scale / 192)
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)


def test_a_normalisation_under_which_the_network_is_clearly_better_is_flagged():
    drawn = faint()
    wrong = Network(by_sign(), name="raw pixels")
    seen, usual = normalisation_checks(wrong, drawn)
    assert seen["passed"] is None
    assert seen["note"].startswith("0.3 to 0.7, mean 0.5, in 1, with mean 0 and std 1")
    assert (usual["passed"], usual["value"]) == (False, 0.5)
    assert "50.0% as it is, 100.0% with 0.5 / 0.5" in usual["note"]
    right = replace(wrong, mean=(0.5,) * 3, std=(0.5,) * 3)
    _, usual = normalisation_checks(right, drawn)
    assert usual["passed"] is None
    assert "100.0% as it is, 50.0% with none" in usual["note"]
    few = drawn.subset(torch.arange(4))  # two of four are no less than all four, given so few
    assert normalisation_checks(wrong, few)[1]["passed"] is None


def test_a_network_of_pixels_to_255_is_told_so():
    class Levels(nn.Module):
        def forward(self, pixels):
            return 40 * by_sign()(pixels - 127.5)

    row = normalisation_checks(Network(Levels()), faint())[1]
    assert row["passed"] is False
    assert "100.0% with pixels to 255" in row["note"]
    assert row["note"].endswith("If so, give it as mean = [0] and std = [0.003922]")


def test_a_normalisation_that_clean_accuracy_cannot_tell_is_named(known):
    network, drawn = known
    _, usual = normalisation_checks(network, drawn, batch_size=7)
    assert (usual["passed"], usual["value"]) == (None, 0)
    every = "none or 0.5 / 0.5 or pixels to 255 or ImageNet's or CIFAR-10's"
    assert f"clean accuracy does not tell {every} from the present" in usual["note"]


def test_the_usual_normalisations_are_those_of_the_images_colour():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
    note = normalisation_checks(Network(module, mean=(0.13,), std=(0.31,)), images(channels=1))[1]["note"]
    assert "with none" in note
    assert "ImageNet" not in note
    assert "MNIST" not in note  # it has those


def test_what_the_first_layer_sees_is_measured_behind_what_the_module_does_itself(known):
    network, drawn = known
    twice = replace(network, module=Before(network.module, lambda seen: 10 * seen))
    seen = normalisation_checks(twice, drawn)[0]["note"]
    low, high = (float(drawn.raw.pixels.min()) - 0.4) / 0.03, (float(drawn.raw.pixels.max()) - 0.4) / 0.03
    assert seen.startswith(f"{low:.3g} to {high:.3g}, mean ")
    assert "in inner.0, with mean 0.4 and std 0.3" in seen


@pytest.mark.parametrize(
    ("stored", "settings", "rows"),
    [
        ({}, {}, True),
        ({"mu": torch.tensor([0.3]), "sigma": torch.tensor([0.4])}, {}, False),  # the file of weights says it
        ({"mu": torch.tensor([0.3]), "sigma": torch.tensor([0.4])}, {"mean": [0.3], "std": [0.4]}, True),
    ],
)
def test_inspect_looks_at_a_normalisation_of_which_it_has_only_somebodys_word(tmp_path, stored, settings, rows):
    weights = build("cnn", channels=1, size=8, n_classes=10, seed=0).state_dict()
    torch.save(weights | stored, tmp_path / "weights.pt")
    settings = {"weights": str(tmp_path / "weights.pt"), "at_chance": "measure", **settings}
    store = Store(tmp_path / "store")
    study = tiny.study(models=[{"name": "one", "source": "small:cnn", **settings}])
    (inspect,) = tiny.of_kind(tiny.planned(study, store), "inspect")
    found = set(inspect.compute(tiny.context_of(study, store), lambda _: None).tables["checks"]["check"])
    assert {"batch independence", "gradient at 0 and 1"} <= found
    assert ({"normalisation", "usual normalisations"} <= found) == rows
