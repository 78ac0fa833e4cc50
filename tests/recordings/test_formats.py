"""Every format that is read: the values and labels that were written, and refusals that say what to do."""

from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.io

from manifoldscope import files
from manifoldscope.cli import main
from manifoldscope.errors import DataError, GeometryError
from manifoldscope.footers import FooterError, parquet_size
from manifoldscope.recordings import load_points

POINTS = np.array([[1.0, 2.0, 3.5], [4.0, 5.0, 6.5], [7.0, 8.0, 9.5], [-1.0, 0.0, 2.25]])
LABELS = ["face", "house", "face", "house"]


def cells(values: list[Any]) -> np.ndarray:
    made = np.empty((len(values), 1), dtype=object)
    for place, value in enumerate(values):
        made[place, 0] = value
    return made


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({f"n{place}": POINTS[:, place] for place in range(3)} | columns)


def mat(path: Path, *, compressed: bool = True, **variables: Any) -> Path:
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


def mat73(path: Path, variables: dict[str, Any]) -> Path:
    """A file as MATLAB 7.3 writes it: HDF5 behind 512 bytes, axes the other way round, cells as references."""
    h5py = pytest.importorskip("h5py", reason="files of MATLAB 7.3 need the extra recordings")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, list):
                texts = [np.array([[ord(letter)] for letter in text], np.uint16) for text in value]
                made = [file.create_dataset(f"#refs#/{name}{place}", data=text) for place, text in enumerate(texts)]
                for cell in made:
                    cell.attrs["MATLAB_class"] = np.bytes_(b"char")
                references = np.array([[cell.ref for cell in made]], dtype=h5py.ref_dtype)
                file.create_dataset(name, data=references).attrs["MATLAB_class"] = np.bytes_(b"cell")
            elif isinstance(value, dict):
                file.create_group(name).attrs["MATLAB_class"] = np.bytes_(b"struct")
            elif value.dtype.kind == "U":
                codes = np.array([[ord(letter) for letter in row] for row in value], np.uint16)
                file.create_dataset(name, data=codes.T).attrs["MATLAB_class"] = np.bytes_(b"char")
            else:
                kind = {"f8": b"double", "f4": b"single", "i4": b"int32"}[value.dtype.str[1:]]
                file.create_dataset(name, data=value.T).attrs["MATLAB_class"] = np.bytes_(kind)
    return _with_header(path)


def _with_header(path: Path) -> Path:
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + path.read_bytes()[128:])
    return path


def write(path: Path, *, labelled: bool) -> Path:
    labels = {"label": LABELS} if labelled else {}
    match path.name.split(".", 1)[1]:
        case "npy":
            np.save(path, POINTS)
        case "npz":
            np.savez(path, points=POINTS, **{name: np.array(values) for name, values in labels.items()})
        case "csv":
            frame(**labels).write_csv(path)
        case "tsv":
            frame(**labels).write_csv(path, separator="\t")
        case "parquet":
            frame(**labels).write_parquet(path)
        case "5.mat":
            mat(path, spikes=POINTS, **{name: cells(values) for name, values in labels.items()})
        case "73.mat":
            mat73(path, {"spikes": POINTS, **labels})
    return path


FORMATS = ("p.npz", "p.csv", "p.tsv", "p.parquet", "p.5.mat", "p.73.mat")


@pytest.mark.parametrize("name", ["p.npy", *FORMATS])
def test_every_format_gives_the_points_that_were_written(name: str, tmp_path: Path) -> None:
    (found,) = load_points(write(tmp_path / name, labelled=False))
    assert found.points.tolist() == POINTS.tolist()
    assert found.label == -1


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_carries_its_labels(name: str, tmp_path: Path) -> None:
    faces, houses = load_points(write(tmp_path / name, labelled=True))
    assert (faces.name, faces.label, houses.name, houses.label) == ("face", 0, "house", 1)
    assert faces.points.tolist() == POINTS[[0, 2]].tolist()
    assert houses.points.tolist() == POINTS[[1, 3]].tolist()


@pytest.mark.parametrize("suffix", ["npy", "csv", "tsv", "parquet"])
def test_labels_of_a_file_of_their_own_count_before_those_beside_the_points(suffix: str, tmp_path: Path) -> None:
    labels = pl.DataFrame({"area": [3, 3, 1, 1]})
    path = tmp_path / f"l.{suffix}"
    if suffix == "npy":
        np.save(path, labels["area"].to_numpy())
    elif suffix == "parquet":
        labels.write_parquet(path)
    else:
        labels.write_csv(path)
    for given in (path, str(path)):
        ones, threes = load_points(write(tmp_path / "p.csv", labelled=True), given)
        assert (ones.label, ones.points.tolist()) == (1, POINTS[2:].tolist())
        assert (threes.label, threes.points.tolist()) == (3, POINTS[:2].tolist())


def test_the_column_that_is_named_is_the_label_and_no_feature(tmp_path: Path) -> None:
    frame(stimulus=[2, 1, 2, 1]).write_parquet(tmp_path / "p.parquet")
    ones, twos = load_points(tmp_path / "p.parquet", "stimulus")
    assert (ones.label, ones.n_features, twos.points.tolist()) == (1, 3, POINTS[[0, 2]].tolist())
    with pytest.warns(UserWarning, match="'stimulus' looks like numbers of rows, trials or subjects"):
        (all_numbers,) = load_points(tmp_path / "p.parquet")
    assert all_numbers.n_features == 4


@pytest.mark.parametrize(
    ("columns", "labels", "words"),
    [
        ({"site": ["V1"] * 4}, None, "column 'site' holds text ('V1'); expected numbers"),
        ({"site": [None, "V1", "V2", "V2"]}, "site", "no label for 1 of 4 points (the first is point 1)"),
        ({"label": LABELS, "class": LABELS}, None, "the columns 'label' and 'class'; say which names the classes"),
        ({"label": LABELS}, "labels", "there is no column 'labels'; did you mean 'label'"),
        ({"label": [0.5, 1.0, 0.5, 1.0]}, None, "expected one whole number or text for each of the 4 points"),
        ({"": [0, 1, 2, 3]}, None, "column '' numbers the rows, as pandas writes it"),
        ({"clock": [2**60, 1, 2, 3]}, None, "column 'clock' holds numbers up to 1.15e+18"),
        ({"n9": [1.0, None, 2.0, 3.0]}, None, "1 of 4 points hold NaN, infinity or nothing (the first is row"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_column_that_cannot_be_used_is_named(
    columns: dict[str, Any], labels: str | None, words: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"p.{suffix}"
    if suffix == "parquet":
        frame(**columns).write_parquet(path)
    else:
        frame(**columns).write_csv(path, separator="\t" if suffix == "tsv" else ",")
    with pytest.raises((DataError, GeometryError)) as caught:
        load_points(path, labels)
    assert words in str(caught.value)


def test_a_table_separated_otherwise_than_its_name_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match="separated by semicolons; save it with commas"):
        load_points(tmp_path / "p.csv")
    (tmp_path / "p.tsv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="separated by commas; save it with tabs"):
        load_points(tmp_path / "p.tsv")


def test_content_and_name_must_agree_and_content_decides_where_the_name_says_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", POINTS)
    (tmp_path / "p.csv").write_bytes((tmp_path / "p.npy").read_bytes())
    with pytest.raises(DataError, match=r"p\.csv is called csv, and its content is npy"):
        load_points(tmp_path / "p.csv")
    (tmp_path / "spikes").write_bytes((tmp_path / "p.npy").read_bytes())
    assert load_points(tmp_path / "spikes")[0].points.tolist() == POINTS.tolist()
    (tmp_path / "p.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="none of the formats that are read: npy, npz, csv, tsv, parquet, mat"):
        load_points(tmp_path / "p.xlsx")
    (tmp_path / "p.mat").write_bytes(b"\0" * 200)
    with pytest.raises(DataError, match="cannot be read as mat"):
        load_points(tmp_path / "p.mat")
    with pytest.raises(DataError, match=r"no 'area'; give labels as a file of their own"):
        load_points(tmp_path / "p.npy", "area")


# -- arrays by name ----------------------------------------------------------------------------------------------------


def test_the_only_matrix_is_the_points_and_several_are_listed(tmp_path: Path) -> None:
    two = {"v1": POINTS, "v4": 2 * POINTS, "rate": np.array(30.0), "area": np.array([[1.0, 2.0, 1.0, 2.0]])}
    mat(tmp_path / "p.mat", **two)
    np.savez(tmp_path / "p.npz", **two)
    for name in ("p.mat", "p.npz"):
        with pytest.raises(DataError, match=r"no array `points`; it has: v1 \(4 x 3\), v4 \(4 x 3\), rate"):
            load_points(tmp_path / name)
        assert load_points(tmp_path / name, points="v4")[0].points.tolist() == (2 * POINTS).tolist()
        with pytest.raises(DataError, match="there is no array 'v2'; did you mean"):
            load_points(tmp_path / name, points="v2")
    ones, twos = load_points(tmp_path / "p.mat", "area", points="v1")  # doubles in a row, as MATLAB holds numbers
    assert (ones.label, twos.label, ones.points.tolist()) == (1, 2, POINTS[[0, 2]].tolist())
    np.savez(tmp_path / "q.npz", spikes=POINTS, label=np.array(LABELS))
    assert [each.name for each in load_points(tmp_path / "q.npz")] == ["face", "house"]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, ">f8"])
def test_numbers_of_matlab_are_what_they_were(dtype: Any, compressed: bool, tmp_path: Path) -> None:
    points = np.array([[1, 2, 250], [3, 4, 5]]).astype(dtype)
    (found,) = load_points(mat(tmp_path / "p.mat", x=points, compressed=compressed))
    assert found.points.tolist() == points.tolist()


def test_text_of_matlab_may_be_a_char_array(tmp_path: Path) -> None:
    points = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 9.0]])
    bird, cat = load_points(mat(tmp_path / "p.mat", x=points, c=np.array(["cat", "bird", "cat"])), "c")
    assert (bird.name, cat.name, cat.points.tolist()) == ("bird", "cat", points[[0, 2]].tolist())


@pytest.mark.parametrize(
    ("variables", "labels", "words"),
    [
        ({"points": {"a": POINTS}}, None, "`points` is a struct; save the field that is meant"),
        ({"points": cells(LABELS)}, None, "`points` is of class cell; expected an array of numbers"),
        ({"points": POINTS * 1j}, None, "is complex; save real and imaginary parts"),
        ({"points": POINTS, "l": {"a": 1}}, "l", "`l` is a struct"),
        ({"points": POINTS, "l": cells([np.eye(2)] * 4)}, "l", "something else than one line of text"),
        ({"points": POINTS, "l": cells(LABELS[:3])}, "l", "for each of the 4 points"),
    ],
)
def test_what_matlab_holds_beside_numbers_and_text_is_refused(
    variables: dict[str, Any], labels: str | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises((DataError, GeometryError)) as caught:
        load_points(mat(tmp_path / "p.mat", **variables), labels)
    assert words in str(caught.value)


def test_matlab_7_3_has_its_axes_in_order_and_names_what_is_none(tmp_path: Path) -> None:
    spikes = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    path = mat73(tmp_path / "p.mat", {"spikes": spikes, "site": np.array(["V1", "V4"]), "about": {}})
    first, second = load_points(path, "site", axes="trials,neurons,time", pool={"time": "flatten"})
    assert (first.name, first.points.tolist()) == ("V1", [spikes[0].ravel().tolist()])
    assert second.points.tolist() == [spikes[1].ravel().tolist()]
    with pytest.raises(DataError, match="`about` is a struct"):
        load_points(path, points="about")
    with pytest.raises(DataError, match=r"no array `points`; it has: v1 \(4 x 3\), v4 \(4 x 3\)"):
        load_points(mat73(tmp_path / "q.mat", {"v1": POINTS, "v4": POINTS}))


def test_matlab_7_3_takes_nothing_from_other_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="files of MATLAB 7.3 need the extra recordings")
    mat73(tmp_path / "other.mat", {"x": POINTS})
    with h5py.File(tmp_path / "p.mat", "w", userblock_size=512) as file:
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "x")
        raw = file.create_dataset("raw", (2, 2), np.float64, external=[(str(tmp_path / "other.mat"), 0, 32)])
        raw.attrs["MATLAB_class"] = np.bytes_(b"double")
    path = _with_header(tmp_path / "p.mat")
    with pytest.raises(DataError, match="there is no array 'linked'"):
        load_points(path, points="linked")
    with pytest.raises(DataError, match="`raw` lies in another file"):
        load_points(path, points="raw")


def test_matlab_7_3_without_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "p.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    with pytest.raises(DataError, match=r"needs h5py: pip install 'manifoldscope\[recordings\]'"):
        load_points(tmp_path / "p.mat")


# -- bounds ------------------------------------------------------------------------------------------------------------


def zeros_73(path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="files of MATLAB 7.3 need the extra recordings")
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset("x", (2**20, 512), np.float64, compression="gzip", chunks=(2**15, 512))
        data.attrs["MATLAB_class"] = np.bytes_(b"double")
    _with_header(path)


def zeros_5(path: Path) -> None:
    """A variable of 512 MiB in half a megabyte."""
    packing, n = zlib.compressobj(9), 2**26
    matrix = struct.pack("<IIIIIIiiIIII", 6, 8, 6, 0, 5, 8, 2**13, 2**13, 0x10001, ord("x"), 9, 8 * n)
    packed = packing.compress(struct.pack("<II", 14, len(matrix) + 8 * n) + matrix)
    for _ in range(8 * n // 2**24):
        packed += packing.compress(bytes(2**24))
    packed += packing.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)


def zeros_parquet(path: Path) -> None:
    pl.DataFrame({"x": pl.zeros(2**25, eager=True)}).select(**{f"n{n}": "x" for n in range(16)}).write_parquet(path)


@pytest.mark.parametrize(("made", "suffix"), [(zeros_73, "mat"), (zeros_5, "mat"), (zeros_parquet, "parquet")])
def test_a_file_that_expands_is_refused_before_it_does(made: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    made(path)
    tracemalloc.start()
    with pytest.raises(DataError, match="compressed to"):
        load_points(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27


@pytest.mark.parametrize("name", ["p.npy", *FORMATS])
def test_what_memory_does_not_hold_is_refused_in_every_format(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / name, labelled=False)
    monkeypatch.setattr(files, "_available_memory", lambda: 64)
    with pytest.raises(DataError, match="GiB of memory"):
        load_points(path)


def test_the_footer_of_parquet_says_what_the_table_takes() -> None:
    table = pl.DataFrame({"x": np.arange(1000.0), "y": np.arange(1000) % 7, "z": ["face"] * 1000})
    file = io.BytesIO()
    table.write_parquet(file, compression="uncompressed", row_group_size=300)
    size = parquet_size(file.getvalue())
    assert (size.n_rows, size.n_columns) == (1000, 3)
    assert 8 * 1000 <= size.n_bytes <= len(file.getvalue())
    for damaged in (b"", b"PAR1", file.getvalue()[:-5] + b"PAR1", b"PAR1" + b"\xff" * 99 + b"\x40\0\0\0PAR1"):
        with pytest.raises(FooterError):
            parquet_size(damaged)


# -- the command line --------------------------------------------------------------------------------------------------


def test_measure_reads_a_table_by_the_name_of_its_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "p.csv", labelled=True)
    assert main(["measure", str(path), "--measure", "pca_dimension", "--split-halves", "0"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["face", "pca_dimension"], ["house", "pca_dimension"]]
    assert main(["measure", str(path), "--labels", "kind"]) == 2
    assert "there is no column 'kind'" in capsys.readouterr().err
