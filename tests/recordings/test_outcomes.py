"""Measures beside outcomes of the same classes: joined by name, and what is on one side alone is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import manifoldscope as ms
from manifoldscope.cli import main
from manifoldscope.errors import DataError, StudyError
from manifoldscope.recordings import join_outcome

NAMES = ["ape", "bat", "cat", "dog", "emu", "fox"]


def table(names: list[str], values: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"label": name, "other": None, "measure": "two_nn", "parameters": "", "value": value, "note": ""}
            for name, value in zip(names, values, strict=True)
        ],
        schema_overrides={"other": pl.String},
    )


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Six classes of 20 points; class k fills k + 1 of 9 features."""
    drawn = np.random.default_rng(0).standard_normal((6, 20, 9))
    for place in range(6):
        drawn[place, :, place + 1 :] = 0
    frame = pl.DataFrame({f"n{n}": drawn[:, :, n].ravel() for n in range(9)})
    frame.with_columns(animal=pl.Series(np.repeat(NAMES, 20))).write_csv(tmp_path / "p.csv")
    return tmp_path / "p.csv"


def test_classes_are_joined_by_name_whatever_their_order() -> None:
    outcome = pl.DataFrame({"class": ["cat", "ape", "bat"], "accuracy": [0.1, 0.2, 0.3], "note": ["c", "a", "b"]})
    found = join_outcome(table(["ape", "bat", "cat"], [1.0, 2.0, 3.0]), outcome)
    assert found.frame.select("label", "value", "accuracy", "note_outcome").rows() == [
        ("ape", 1.0, 0.2, "a"),
        ("bat", 2.0, 0.3, "b"),
        ("cat", 3.0, 0.1, "c"),
    ]
    assert found.missing == ""


def test_numbers_of_classes_are_joined_as_the_labels_that_they_are() -> None:
    for labels in ([10, 9], [10.0, 9.0], ["10", "9"]):
        found = join_outcome(table(["9", "10"], [1.0, 2.0]), pl.DataFrame({"label": labels, "y": [5, 6]}))
        assert found.frame["y"].to_list() == [6, 5]


def test_wholes_and_pairs_are_left_out() -> None:
    measured = table(["ape", "bat"], [1.0, 2.0])
    more = measured.with_columns(label=pl.Series([None, "ape"]), other=pl.Series([None, "bat"]))
    outcome = pl.DataFrame({"class": ["ape", "bat"], "y": [1, 2]})
    assert len(join_outcome(pl.concat([measured, more], how="vertical_relaxed"), outcome).frame) == 2


@pytest.mark.parametrize(
    ("outcome", "key", "error", "words"),
    [
        ({"class": ["ape", "ape"], "y": [1, 2]}, None, StudyError, "several rows for class 'ape'"),
        ({"class": ["ape", None], "y": [1, 2]}, None, DataError, "1 rows of the outcome have no class"),
        (
            {"class": ["cow", "hen"], "y": [1, 2]},
            None,
            StudyError,
            "were ape, bat, and the outcome has cow, hen",
        ),
        (
            {"animal": ["ape"], "y": [1]},
            None,
            StudyError,
            "say which column of the outcome names the class",
        ),
        ({"animal": ["ape"], "y": [1]}, "animals", StudyError, "there is no column 'animals'; did you mean 'animal'"),
        ({"label": ["0"], "class": ["ape"], "y": [1]}, None, StudyError, "say which column of the outcome names"),
    ],
)
def test_what_cannot_be_joined_says_why(outcome: dict, key: str | None, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        join_outcome(table(["ape", "bat"], [1.0, 2.0]), pl.DataFrame(outcome), key=key)
    assert words in str(caught.value)


def test_a_perfect_association_is_found_and_the_missing_are_named() -> None:
    measured = table(NAMES, [3.0, 1.0, 2.0, 5.0, 4.0, 9.0])
    outcome = pl.DataFrame({"class": [*NAMES[:5], "yak"], "accuracy": [0.7, 0.9, 0.8, 0.5, 0.6, 0.1]})
    found = ms.associate_outcome(measured, outcome, y="accuracy")
    assert found.columns[:4] == ["measure", "parameters", "method", "coefficient"]
    assert found["coefficient"].to_list() == pytest.approx([-1, -1])
    assert found["n"].to_list() == [5, 5]
    assert all("without an outcome: fox; not measured: yak" in note for note in found["note"])
    with pytest.raises(StudyError, match="there is no column 'accurcy'; did you mean 'accuracy'"):
        ms.associate_outcome(measured, outcome, y="accurcy")
    with pytest.raises(StudyError, match="outcome is str; expected a polars DataFrame"):
        ms.associate_outcome(measured, "accuracy.csv", y="accuracy")


def test_a_measure_of_the_whole_alone_is_refused() -> None:
    measured = table(["ape"], [1.0]).with_columns(label=pl.lit(None, pl.String), measure=pl.lit("simulated_capacity"))
    with pytest.raises(StudyError, match="simulated_capacity says nothing of single classes"):
        ms.associate_outcome(measured, pl.DataFrame({"class": ["ape"], "y": [1]}), y="y")


def test_measure_associates_with_a_table_of_another(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The more dimensions, the lower the accuracy, but for the class that the table does not have."""
    outcome = pl.DataFrame(
        {"who": NAMES[:5], "accuracy": [0.9, 0.8, 0.7, 0.6, 0.5], "clean": [0.9, 0.8, 0.9, 0.8, 0.9]}
    )
    outcome.write_csv(tmp_path / "o.tsv", separator="\t")
    command = ["measure", str(recorded), "--labels", "animal", "--measure", "participation_ratio", "--json"]
    asked = ["--outcome", str(tmp_path / "o.tsv"), "--y", "accuracy", "--key", "who"]
    assert main([*command, *asked, "--control", "clean"]) == 0
    found = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) == {"pearson", "spearman", "partial"}
    assert found["spearman"]["coefficient"] == pytest.approx(-1)
    assert found["spearman"]["n"] == 5
    assert "without an outcome: fox" in found["pearson"]["note"]
    for wrong, words in (
        (asked[:2], "needs --y COLUMN"),
        (asked[2:], "give --outcome TABLE as well"),
        ([*asked, "--null", "3"], "--null stands beside values, which --outcome does not print"),
        ([*asked[:3], "why"], "there is no column 'why'"),
    ):
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err


def test_each_time_has_its_own_association(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = np.random.default_rng(1).standard_normal((5, 8, 4, 2))
    np.save(tmp_path / "p.npy", drawn)
    pl.DataFrame({"class": range(5), "y": [3, 1, 4, 1, 5]}).write_parquet(tmp_path / "o.parquet")
    command = ["measure", str(tmp_path / "p.npy"), "--axes", "classes,trials,neurons,time", "--pool", "time=each"]
    assert main([*command, "--measure", "two_nn", "--outcome", str(tmp_path / "o.parquet"), "--y", "y", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["time"], row["method"]) for row in found] == [
        (0, "pearson"),
        (0, "spearman"),
        (1, "pearson"),
        (1, "spearman"),
    ]
    assert found[0]["coefficient"] != found[2]["coefficient"]
