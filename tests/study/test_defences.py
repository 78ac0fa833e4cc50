"""Defences in a study: their keys, what is refused, and a study of seconds from training to table, figure and words."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from manifoldscope.errors import StudyError
from manifoldscope.evidence.concluded import concluded
from manifoldscope.report import diagnose, draw
from manifoldscope.study import Store, run_units
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.vision.defences import NoiseVote
from manifoldscope.vision.network import logits
from tests.study import tiny

QUIET = Progress(quiet=True)
TRAINING = {"epochs": 4, "batch_size": 20, "learning_rate": 0.005}
DEFENDED: dict[str, tuple[str, Any]] = {
    "standard": ("standard", None),
    "gabor": ("standard", {"name": "gabor", "orientations": 2}),
    "denoiser": ("denoise", "denoiser"),
    "vote": ("standard", {"name": "noise_vote", "votes": 3, "std": 0.1}),
}


def model(name: str, objective: str, defence: Any) -> dict[str, Any]:
    given = {} if defence is None else {"defence": defence}
    return {"name": name, "source": "small:cnn", "training": {"objective": objective, **TRAINING}, **given}


def study(models: list[dict[str, Any]], **changes: Any) -> Any:
    asked = {"measures": ["pca_dimension"], "layers": ["penultimate"], "sampling": {"split_halves": 1}}
    return tiny.study(models=models, **asked, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    asked = study(
        [model(name, *way) for name, way in DEFENDED.items()],
        attacks=[
            {"kind": "pgd", "epsilons": [0.05, 0.2], "steps": 3},
            {"kind": "apgd_ce", "epsilons": [0.2], "steps": 3},
            {"kind": "noise", "epsilons": [0.2]},
        ],
    )
    store = Store(tmp_path_factory.mktemp("defences") / "run")
    outcome = run_units(asked, store, progress=QUIET)
    assert outcome.failed == {}
    tables = collect(store, outcome.units)
    return asked, store, tables | concluded(tables, methods=["pearson"], permutations=100, seed=0), outcome.units


# -- keys --------------------------------------------------------------------------------------------------------------


def keys(store, defence):
    return {unit.key for unit in tiny.planned(study([model("a", "standard", defence)]), store)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("keys"))
    made.prepare()
    return made


def test_each_setting_of_a_defence_enters_the_keys_and_none_where_there_is_none(store):
    known = [
        keys(store, defence)
        for defence in (
            None,
            "gabor",
            {"name": "gabor", "orientations": 4},
            "denoiser",
            {"name": "denoiser", "layers": 5},
            "noise_vote",
            {"name": "noise_vote", "votes": 4},
            {"name": "noise_vote", "seed": 1},
        )
    ]
    draws = set.intersection(*known)
    assert all(not (one & other) - draws for place, one in enumerate(known) for other in known[:place])
    assert keys(store, {"name": "gabor", "orientations": 8}) == known[1]
    (unit,) = tiny.of_kind(tiny.planned(study([model("a", "standard", None)]), store), "train")
    assert set(unit.network.identity) == {"source", "build"}


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"defence": "gabro"}, "there is no defence 'gabro'; did you mean 'gabor'"),
        ({"defence": {"name": "gabor", "orientation": 4}}, "did you mean 'orientations'"),
        ({"defence": {"name": "noise_vote", "votes": 0}}, "votes = 0; expected at least 1"),
        ({"defence": {"name": "noise_vote", "votes": 2.5}}, "votes"),
        (
            {"training": {"objective": "denoise"}},
            "the objective 'denoise' trains a denoiser; give the network defence =",
        ),
        ({"training": {"objective": "denoise"}, "defence": "gabor"}, "trains a denoiser"),
        (
            {"training": None, "weights": "x", "defence": "gabor"},
            "give it a table [models.training] instead of weights",
        ),
    ],
)
def test_what_can_only_fail_later_is_refused_at_once(change, message):
    raw = model("a", "standard", None) | change
    with pytest.raises(StudyError, match=re.escape(message)):
        study([{key: value for key, value in raw.items() if value is not None}])


# -- a whole study -----------------------------------------------------------------------------------------------------


def test_defended_networks_are_trained_measured_and_attacked(finished):
    _, _, tables, _ = finished
    models = {row["model"]: row for row in tables["models"].iter_rows(named=True)}
    ways = {name: (row["objective"], row["defence"]) for name, row in models.items()}
    assert ways == {
        "standard": ("standard", None),
        "gabor": ("standard", "gabor"),
        "denoiser": ("denoise", "denoiser"),
        "vote": ("standard", "noise_vote"),
    }
    assert models["vote"]["defence_parameters"] == "std=0.1 votes=3 seed=0"
    assert models["gabor"]["recipe"].endswith("defence=gabor orientations=2 frequency=0.25 octaves=2 width=0.4")
    assert models["vote"]["multiply_adds"] == 3 * models["standard"]["multiply_adds"]
    assert models["vote"]["n_parameters"] == models["standard"]["n_parameters"]
    features = dict(tables["geometry"].select("model", "n_features").unique().iter_rows())
    assert features == dict.fromkeys(models, 128)
    failed = tables["checks"].filter(~tables["checks"]["passed"])
    assert not set(failed["check"]) & {"determinism", "batch independence", "vanishing gradient", "feasibility"}


def test_a_checkpoint_holds_the_defence_and_comes_back(finished):
    asked, store, tables, units = finished
    context = tiny.context_of(asked, store)
    for name in DEFENDED:
        (unit,) = [unit for unit in tiny.of_kind(units, "train") if unit.network.name == name]
        kept = load_file(store.checkpoint(unit.key)[0])
        network = context.network(name)
        assert all(torch.equal(value, kept[key]) for key, value in network.module.state_dict().items())
        images = context.draws["robustness"].images
        share = (logits(network, images).argmax(1) == images.labels).float().mean()
        accuracy = tables["models"].filter(model=name)["clean_accuracy"].item()
        assert float(share) == pytest.approx(accuracy, abs=1e-6)
    assert any(key.startswith("front.mix") for key in load_file(checkpoint(store, units, "gabor")))


def checkpoint(store, units, name):
    (unit,) = [unit for unit in tiny.of_kind(units, "train") if unit.network.name == name]
    return store.checkpoint(unit.key)[0]


def test_the_table_says_what_each_costs_and_loses(finished):
    _, _, tables, _ = finished
    table = tables["defences"]
    assert len(table) == 4 * 2
    assert set(table["baseline"]) == {"standard"}
    worst = table.filter(strength=0.2)
    assert set(worst["attacks"]) == {"apgd_ce + noise + pgd"}
    for row in worst.iter_rows(named=True):
        mine = tables["outcomes"].filter(model=row["model"], strength=0.2)
        robust = [set(mine.filter(attack="pgd", robust_any=True)["image"])]
        robust += [set(mine.filter(attack=name, robust_last=True)["image"]) for name in ("apgd_ce", "noise")]
        assert row["n_robust"] == len(set.intersection(*robust))
        assert row["seconds"] > 0
    vote = worst.filter(model="vote").row(0, named=True)
    assert vote["relative_multiply_adds"] == 3


def test_the_figure_and_the_finding_are_made_of_it(finished):
    _, _, tables, _ = finished
    (figure,) = draw("defences", tables)
    assert len(figure.chart.flat) == 3
    assert figure.table.height == 4
    assert figure.chart.svg().count("<title>") == 3 * 4
    (finding,) = [each for each in diagnose(tables) if each.kind == "defences"]
    assert "times the multiply-adds per image" in finding.text
    assert any("AutoAttack was not among" in caveat for caveat in finding.caveats)


def test_a_loaded_network_can_be_defended(finished, tmp_path):
    _, store, _, units = finished
    weights = checkpoint(store, units, "standard")
    models = [
        {"name": "loaded", "source": "small:cnn", "weights": str(weights)},
        {
            "name": "voted",
            "source": "small:cnn",
            "weights": str(weights),
            "defence": {"name": "noise_vote", "votes": 2},
        },
    ]
    asked = study(models, attacks=[{"kind": "pgd", "epsilons": [0.1], "steps": 2}])
    other = Store(tmp_path / "run")
    outcome = run_units(asked, other, progress=QUIET)
    assert outcome.failed == {}
    tables = collect(other, outcome.units)
    table = concluded(tables, methods=["pearson"], permutations=100, seed=0)["defences"]
    assert table.select("model", "baseline").rows() == [("loaded", "loaded"), ("voted", "loaded")]
    context = tiny.context_of(asked, other)
    loaded, voted = context.untrained("loaded"), context.untrained("voted")
    images = context.draws["robustness"].images
    expected = NoiseVote(votes=2).around(loaded)
    assert torch.equal(logits(voted, images), logits(expected, images))
