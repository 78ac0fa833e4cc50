"""Layers of a study by pattern: units hold names, layers share passes in bounded memory, and the profile is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import manifoldscope as ms
from manifoldscope.errors import ModelError
from manifoldscope.study import Store, measuring, networks, run_units
from manifoldscope.study.cost import Costs
from manifoldscope.study.measuring import passes, points_in_turn, points_together
from manifoldscope.study.probe import probe
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.vision.memory import process_memory
from tests.study import tiny

QUIET = Progress(quiet=True)
CNN = ["conv1", "relu1", "conv2", "relu2", "dense", "penultimate", "logits"]
MLP = ["dense1", "relu1", "dense2", "penultimate", "logits"]
MEASURES = ["pca_dimension", "centroid_distance"]


def of_random(*sources: str, **changes: Any) -> dict[str, Any]:
    """A study of untrained networks, without attacks."""
    models = [{"name": source, "source": f"small:{source}", "training": {"objective": "random"}} for source in sources]
    return tiny.raw(**{"models": models, "attacks": [], "measures": MEASURES, "layers": ["all"], **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    store.prepare()
    return store


def measured(raw: dict[str, Any], store: Store) -> dict[str, tuple[str, ...]]:
    """The layers of the geometry of each network."""
    units = tiny.planned(tiny.parse(raw), store)
    return {unit.network.name: unit.layers for unit in tiny.of_kind(units, "geometry")}


# -- planning ----------------------------------------------------------------------------------------------------------


def test_units_hold_the_layers_of_their_network_by_name(store):
    raw = of_random("cnn", "mlp")
    assert measured(raw, store) == {"cnn": tuple(CNN), "mlp": tuple(MLP)}
    units = tiny.planned(tiny.parse(raw), store)
    assert [unit.layer for unit in tiny.of_kind(units, "layer")] == [*CNN, *MLP]
    raw["models"][0]["layers"] = ["conv?", {"name": "rel*", "pool": "mean"}, "logits"]
    mixed = ("conv1", "relu1 [mean]", "conv2", "relu2 [mean]", "relu3", "logits")
    assert measured(raw, store) == {"cnn": mixed, "mlp": tuple(MLP)}


def test_layers_by_pattern_have_the_keys_of_the_same_layers_by_name(store):
    keys = [
        {unit.key for unit in tiny.planned(tiny.parse(of_random("cnn", layers=asked)), store)}
        for asked in (["all"], CNN)
    ]
    assert keys[0] == keys[1]


def test_a_network_is_made_once_for_all_its_seeds_and_not_at_all_without_a_pattern(store, monkeypatch):
    made: list[str] = []
    make = networks.make_network
    monkeypatch.setattr(networks, "make_network", lambda source, **told: made.append(source) or make(source, **told))
    raw = of_random("cnn")
    raw["models"][0]["training"]["seeds"] = [0, 1, 2]
    assert len(measured(raw, store)) == 3
    assert made == ["small:cnn"]
    measured(of_random("cnn", layers=CNN), store)
    assert made == ["small:cnn"]


def test_a_pattern_that_matches_nothing_and_weights_that_are_not_there_stop_the_study(store):
    with pytest.raises(ModelError, match=r"cnn: no layer matches the pattern 'convs\*'.*'conv.*`layers` of its own"):
        measured(of_random("cnn", layers=["convs*"]), store)
    told = {}
    for asked in (["all"], CNN):
        lost = {"name": "lost", "source": "small:cnn", "weights": "nowhere.safetensors"}
        with pytest.raises(ModelError) as found:
            run_units(tiny.parse(of_random(models=[lost], layers=asked)), store, progress=QUIET)
        told[len(asked)] = str(found.value)
    assert len(set(told.values())) == 1
    assert "nowhere.safetensors" in told[1]


# -- one pass, in bounded memory ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    return tiny.parse(of_random("cnn", sampling={"reliability": 4, "split_halves": 1}))


@pytest.fixture(scope="module")
def ran(study, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("layers") / "run")
    assert run_units(study, store, progress=QUIET).failed == {}
    return store


def test_layers_that_share_passes_find_what_each_finds_alone(study, ran, monkeypatch):
    context = tiny.context_of(study, ran)
    units = tiny.of_kind(ran.plan()[0], "layer")
    listened: list[tuple[str, ...]] = []
    hear = measuring.activations

    def counted(network, images, *, layers, **told):
        listened.append(tuple(layers))
        return hear(network, images, layers=layers, **told)

    monkeypatch.setattr(measuring, "activations", counted)
    together = type(units[0]).compute_together(units, context, lambda share: None)
    assert listened == [tuple(CNN)]
    alone = [unit.compute(context, lambda share: None) for unit in units]
    for one, other in zip(together, alone, strict=True):
        assert one.tables.keys() == other.tables.keys()
        for name in one.tables:
            assert_frame_equal(one.tables[name], other.tables[name])
    assert {unit.together for unit in units} == {("layer", "cnn")}


def test_layers_share_a_pass_as_far_as_their_points_have_room():
    sizes = {"a": 4.0, "b": 4.0, "c": 3.0, "d": 20.0, "e": 1.0, "f": 8.0}
    assert passes(sizes, 8.0) == [["a", "b"], ["c"], ["d"], ["e"], ["f"]]
    assert passes(sizes, 0.0) == [[name] for name in sizes]
    assert passes(sizes, 40.0) == [list(sizes)]


def test_no_more_points_are_held_at_once_than_the_memory_allows(study, ran, monkeypatch):
    context = tiny.context_of(study, ran)
    network, images = context.untrained("cnn"), context.draws["geometry"].images
    size = 4 * len(images)  # bytes of a feature of all images
    room = size * 700  # conv1 and relu1 have 512 features each
    monkeypatch.setattr(context.memory, "limit", process_memory() + int(4 * room))
    monkeypatch.setattr(measuring, "process_memory", lambda: context.memory.limit - int(4 * room))
    assert points_together(context) == room
    held: list[tuple[list[str], float]] = []
    hear = measuring.activations

    def watched(network, images, *, layers, **told):
        found = hear(network, images, layers=layers, **told)
        held.append((list(layers), sum(manifold.points.nbytes for manifold in found)))
        return found

    monkeypatch.setattr(measuring, "activations", watched)
    points = list(points_in_turn(context, network, images, CNN))
    assert [{manifold.layer for manifold in each} for each in points] == [{name} for name in CNN]
    assert [layers for layers, _ in held] == [["conv1"], ["relu1"], ["conv2", "relu2", "dense"], CNN[5:]]
    assert all(taken <= room for _, taken in held)


def test_a_forecast_counts_the_passes_that_layers_share_once_and_the_points_beside_their_own(study, ran, monkeypatch):
    context = tiny.context_of(study, ran)
    units = tiny.of_kind(ran.plan()[0], "layer")
    costs = Costs(context, probe(context, "cnn", units, CNN), "cnn")
    passing = costs.forward_seconds(36, 16)
    n_images, widths = 36, costs.network.values

    def of_passes() -> float:
        with monkeypatch.context() as patch:
            patch.setattr(type(costs), "forward_seconds", lambda *_: 0.0)
            without = sum(unit.seconds(costs, 16) for unit in units)
        return (sum(unit.seconds(costs, 16) for unit in units) - without) / passing

    assert of_passes() == pytest.approx(1)
    every = 4 * n_images * sum(widths.values())
    beside = {unit.layer: unit.need(costs).fixed for unit in units}
    monkeypatch.setattr("manifoldscope.study.kinds.layer.points_together", lambda context: 0.0)
    assert of_passes() == pytest.approx(len(CNN))
    for unit in units:
        own = 4 * n_images * widths[unit.layer]
        assert beside[unit.layer] - unit.need(costs).fixed == pytest.approx(every - own)


# -- what is stored ----------------------------------------------------------------------------------------------------


def test_every_layer_that_is_executed_has_a_row_in_order(ran):
    rows = collect(ran, ran.plan()[0])["layers"]
    assert rows["layer"].to_list() == ["conv1", "relu1", "conv2", "relu2", "flatten", "dense", "relu3", *CNN[5:]]
    assert rows["place"].to_list() == list(range(9))
    assert rows["depth"].to_list() == pytest.approx([place / 8 for place in range(9)])
    assert rows.filter(pl.col("left_out") == "")["layer"].to_list() == CNN
    assert rows.row(0, named=True) == {
        "model": "cnn", "place": 0, "depth": 0.0, "layer": "conv1", "type": "Conv2d", "shape": "32 x 4 x 4",
        "n_features": 512, "pool": "flatten", "left_out": "",
    }  # fmt: skip


def test_a_study_of_all_layers_ends_in_a_profile(tmp_path):
    """From the study to the page, by the one call that most people make."""
    raw = tiny.raw(layers=["all"], models=tiny.raw()["models"][:1], attacks=[])
    out = tmp_path / "run"
    result = ms.run(tiny.parse(raw), out=out, progress=QUIET)
    assert result.failed == {}
    assert set(result.table("geometry")["layer"]) == set(CNN)
    assert set(result.table("geometry").filter(layer="conv1")["pool"]) == {"flatten"}
    (figure,) = result.draw("depth_profile")
    assert figure.table.filter(measure="pca_dimension")["layer"].to_list() == CNN
    assert (out / "figures" / "depth_profile.svg").is_file()
    assert [finding.title for finding in result.findings if finding.kind == "depth"]
    assert not result.status.missing
    assert ms.run(tiny.parse(raw), out=out, progress=QUIET).n_computed == 0
