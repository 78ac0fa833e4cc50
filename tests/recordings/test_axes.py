"""Axes of arrays: points, features and classes by name, and what becomes of the others; values by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manifoldscope.cli import main
from manifoldscope.errors import DataError
from manifoldscope.recordings import load_points, load_sets

SPIKES = np.arange(24.0).reshape(2, 3, 4)
"""Two trials of three neurons at four times: 12 trial + 4 neuron + time."""

MEAN = "trials,neurons,time"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "s.npy", SPIKES)
    return tmp_path / "s.npy"


def points(path: Path, axes: str, array: np.ndarray | None = None, **asked: object) -> list:
    if array is not None:
        np.save(path, array)
    (found,) = load_points(path, axes=axes, **asked)
    return found.points.tolist()


def test_the_mean_is_over_the_window_alone(path: Path) -> None:
    assert points(path, MEAN, pool={"time": "mean"}) == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    assert points(path, MEAN, window=(1, 3), pool={"time": "mean"}) == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    assert points(path, MEAN, window=(2, 4), pool={"time": "mean"}) == [[2.5, 6.5, 10.5], [14.5, 18.5, 22.5]]


def test_flattened_times_are_features_of_each_neuron(path: Path) -> None:
    expected = [[1.0, 2.0, 5.0, 6.0, 9.0, 10.0], [13.0, 14.0, 17.0, 18.0, 21.0, 22.0]]
    assert points(path, MEAN, window=(1, 3), pool={"time": "flatten"}) == expected
    # in another order of the axes the points are the same, and the last named axis changes fastest
    turned = SPIKES.transpose(2, 0, 1)
    by_time = [[1.0, 5.0, 9.0, 2.0, 6.0, 10.0], [13.0, 17.0, 21.0, 14.0, 18.0, 22.0]]
    assert points(path, "time,trials,neurons", turned, window=(1, 3), pool={"time": "flatten"}) == by_time


def test_each_time_has_its_own_points_and_its_number_in_the_recording(path: Path) -> None:
    first, second = load_sets(path, axes=MEAN, window=(1, 3), pool={"time": "each"})
    assert (first.at, second.at) == ({"time": 1}, {"time": 2})
    assert first.manifolds[0].points.tolist() == [[1, 5, 9], [13, 17, 21]]
    assert second.manifolds[0].points.tolist() == [[2, 6, 10], [14, 18, 22]]
    with pytest.raises(DataError, match="gives several sets of points; read them by load_sets"):
        load_points(path, axes=MEAN, pool={"time": "each"})


def test_a_matrix_of_neurons_by_trials_is_turned(path: Path) -> None:
    assert points(path, "neurons,trials", SPIKES[0]) == SPIKES[0].T.tolist()
    assert points(path, "trials,neurons", SPIKES[0]) == SPIKES[0].tolist()


def test_classes_may_have_an_axis_with_names_of_their_own(path: Path) -> None:
    axes = "classes,units,stimuli"
    zero, one = load_points(path, axes=axes)
    assert (zero.name, zero.label, one.name) == ("0", 0, "1")
    assert one.points.tolist() == SPIKES[1].T.tolist()
    np.save(path.with_name("l.npy"), np.array(["face", "ape"]))
    face, ape = load_points(path, path.with_name("l.npy"), axes=axes)  # in the order of the axis
    assert (face.name, ape.name, ape.points.tolist()) == ("face", "ape", SPIKES[1].T.tolist())
    np.save(path.with_name("l.npy"), np.array(["face", "face"]))
    with pytest.raises(DataError, match="several entries of the axis of classes have one label"):
        load_points(path, path.with_name("l.npy"), axes=axes)


def test_several_further_axes_are_each_pooled_as_asked(path: Path) -> None:
    array = np.arange(48.0).reshape(2, 2, 3, 4)  # 24 trial + 12 repeat + 4 neuron + time
    axes = "trials,repeats,neurons,time"
    found = load_sets(_saved(path, array), axes=axes, pool={"repeats": "mean", "time": "each"})
    assert [one.at for one in found] == [{"time": time} for time in range(4)]
    assert found[3].manifolds[0].points.tolist() == [[9, 13, 17], [33, 37, 41]]
    both = load_sets(path, axes=axes, pool={"repeats": "each", "time": "each"})
    assert both[5].at == {"repeats": 1, "time": 1}
    assert both[5].manifolds[0].points.tolist() == [[13, 17, 21], [37, 41, 45]]


def _saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_means_are_exact_and_keep_the_type_of_floats(path: Path) -> None:
    spikes = np.full((1, 2, 3), 2**24, np.float32)
    spikes[0, 0] = [2**24, 1, 1]  # in float32 the sum would lose both ones
    np.save(path, np.concatenate([spikes, spikes]))
    (found,) = load_points(path, axes=MEAN, pool={"time": "mean"})
    assert found.points[0, 0] == np.float32((2**24 + 2) / 3)
    np.save(path, SPIKES.astype(np.int8))
    assert points(path, MEAN, pool={"time": "mean"})[0] == [1.5, 5.5, 9.5]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "s.npy has 3 axes (2 x 3 x 4); say what they are, as by --axes trials,neurons,time"),
        ({"axes": "trials,neurons"}, "s.npy has 3 axes (2 x 3 x 4), and 2 are named: trials,neurons"),
        ({"axes": MEAN}, "say what becomes of 'time', as by --pool time=mean"),
        ({"axes": MEAN, "pool": {"time": "max"}}, "pool time=max: expected one of mean, flatten, each"),
        ({"axes": MEAN, "pool": {"tme": "mean"}}, "pool tme=mean: there is no axis 'tme'; did you mean 'time'"),
        ({"axes": "trials,points,time", "pool": {"time": "mean"}}, "trials and points each name the points"),
        ({"axes": "trials,time,neuron", "pool": {"time": "mean"}}, "none of them names the features"),
        ({"axes": "trials,neurons,neurons"}, "'neurons' is there twice"),
        ({"axes": MEAN, "window": (1, 5), "pool": {"time": "mean"}}, "window 1:5 goes beyond the 4 samples of time"),
        ({"axes": MEAN, "window": (3, 3), "pool": {"time": "mean"}}, "window 3:3 is none"),
        ({"axes": MEAN, "window": (-2, 3), "pool": {"time": "mean"}}, "window -2:3 is none"),
        ({"axes": "classes,trials,neurons", "window": (0, 1)}, "window 0:1 is of the axis 'time'"),
        ({"window": (0, 1)}, "needs the names of the axes"),
    ],
)
def test_what_cannot_be_is_one_sentence_with_the_axes_and_the_shape(path: Path, asked: dict, words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_points(path, **asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_samples_and_no_numbers_are_refused(path: Path) -> None:
    for axis in range(3):
        empty = np.ones((2, 3, 4)).take(range(0), axis)
        for how in ("mean", "flatten", "each"):
            with pytest.raises(DataError, match="expected at least one entry along each axis"):
                load_sets(_saved(path, empty), axes=MEAN, pool={"time": how})
    with pytest.raises(DataError, match="which has no mean"):
        points(path, MEAN, np.ones((2, 3, 2), complex), pool={"time": "mean"})


# -- the command line --------------------------------------------------------------------------------------------------


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return json.loads(capsys.readouterr().out)


def test_measure_takes_each_time_apart(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At time t the trials differ in t directions."""
    spikes = np.zeros((6, 5, 4))
    for time in range(4):
        spikes[:time, :, time] = np.eye(5)[:time]
    np.save(path, spikes)
    command = ["measure", str(path), "--axes", MEAN, "--pool", "time=each", "--measure", "pca_dimension", "--json"]
    assert main([*command, "--split-halves", "0", "--set", "pca_dimension.fraction=1.0"]) == 0
    found = rows(capsys)
    assert [(row["time"], row["value"]) for row in found] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert main([*command, "--split-halves", "0", "--window", "2:3"]) == 0
    assert [row["time"] for row in rows(capsys)] == [2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what they are, as by --axes"),
        (["--axes", "trials,neurons,measure", "--pool", "measure=each"], "the name of a column of the table"),
    ],
)
def test_measure_says_what_is_missing(
    arguments: list[str], words: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", str(path), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--window", "3"), ("--pool", "time"), ("--pool", "=mean")])
def test_options_that_say_nothing_are_refused(
    option: str, value: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["measure", str(path), option, value])
    assert "expected" in capsys.readouterr().err
