"""Tables in files: what is missing, what is wrong and where, said in words that help."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from manifoldscope.cli import main
from manifoldscope.errors import DataError
from manifoldscope.frames import read_frame

ADVICE = ("infer_schema_length", "ignore_errors", "truncate_ragged_lines", "null_values", "encoding", "`")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_cells_without_a_number_are_missing(tmp_path: Path) -> None:
    cells = ["1", "NA", "n/a", "", "nan", "NaN", " null ", "None", "#N/A", " 2.5 ", "-3e2", "+4"]
    path = write(tmp_path / "t.csv", "x,y\r\n" + "".join(f"{cell},z\r\n" for cell in cells))
    found = read_frame(path, numeric=["x"])
    assert found["x"].to_list() == [1, *[None] * 8, 2.5, -300, 4]
    assert found["y"].to_list() == ["z"] * 12


def test_numbers_of_any_size_keep_their_digits(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"a,b,c,d\n{10**17 + 1},{10**30 + 1},{10**17}.25,+{10**400}\nNA,1,0.5,1\n")
    found = read_frame(path, numeric="abcd")
    assert found["a"].to_list() == [10**17 + 1, None]
    assert found["b"].to_list() == [10**30 + 1, 1]
    assert found["c"].to_list() == [Decimal(10**17) + Decimal("0.25"), Decimal("0.5")]
    assert found["d"].to_list() == [float("inf"), 1]


REFUSED = {
    "text": ("x,y\n1,2\n\n3,about 4\n", "row 4, column 'y' holds 'about 4'; expected a number"),
    "a row within quotes": ('n,x,y\n"two\nlines",1,2\nc,3,4%\n', "row 4, column 'y' holds '4%'"),
    "short row": ("x,y\n1,2\n3\n", "row 3 has 1 cells, and the header names 2 columns"),
    "long row": ("x,y\n1,2\n3,4,5\n", "row 3 has 3 cells"),
    "no rows": ("x,y\n", "a header and no rows"),
    "empty": ("", "it is empty"),
    "twice": ("x,y,x\n1,2,3\n", "'x' twice"),
    "semicolons": ("x;y\n1,5;2\n", "separated by semicolons"),
    "tabs": ("x\ty\n1\t2\n", "separated by tabs"),
    "Latin-1": ("x,y,n\n1,2,a\n3,4,é\n".encode("latin-1"), "row 3 is not UTF-8"),
    "UTF-16": ("x,y\n1,2\n".encode("utf-16"), "UTF-16"),
    "open quotation": ('x,y\n1,"2\n3,4\n', "quotation mark"),
    "long cell": ("x,y\n1," + "2" * 2**18 + "\n", "field limit"),
    "no numbers": (bytes(range(128)) * 9, "cannot be read as a table"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_of_numbers_is_one_sentence(case: str, tmp_path: Path, capsys) -> None:
    content, words = REFUSED[case]
    path = write(tmp_path / "t.csv", content)
    assert main(["associate", str(path), "--x", "x", "--y", "y"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert len(message) < 400 + len(str(path))
    assert not any(advice in message for advice in ADVICE)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path / "t.csv", "\ufeffx, y\n1,2\n")).columns == ["x", "y"]


def test_spaces_around_a_cell_of_text_are_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'x, group\n1,a \n2,  a\n3,"a\t"\n4, "a"\n5,  \n6,b c\n')
    assert read_frame(path)["group"].to_list() == ["a", "a", "a", "a", None, "b c"]


def test_a_path_is_no_pattern(tmp_path: Path) -> None:
    """Beside each file lies another one that its name would match as a pattern."""
    for name in ("t[1]", "t*", "t?", "~", "{a,b}"):
        for other in ("t1", "ta", "a"):
            write(tmp_path / f"{other}.csv", "x\n1\n")
            pl.DataFrame({"x": [1]}).write_parquet(tmp_path / f"{other}.parquet")
        write(tmp_path / f"{name}.csv", "x\n2\n")
        with (tmp_path / f"{name}.parquet").open("wb") as file:
            pl.DataFrame({"x": [2]}).write_parquet(file)
        for suffix in ("csv", "parquet"):
            assert read_frame(tmp_path / f"{name}.{suffix}")["x"].to_list() == [2]
            (tmp_path / f"{name}.{suffix}").unlink()
            with pytest.raises(DataError, match="no such file"):
                read_frame(tmp_path / f"{name}.{suffix}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_only_regular_files_are_opened(tmp_path: Path, capsys) -> None:
    for suffix in ("csv", "parquet"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")
        (tmp_path / f"folder.{suffix}").mkdir()
        for name, words in (("pipe", "named pipe"), ("folder", "folder")):
            assert main(["associate", str(tmp_path / f"{name}.{suffix}"), "--x", "x", "--y", "y"]) == 2
            assert words in capsys.readouterr().err
    assert main(["associate", "/dev/zero", "--x", "x", "--y", "y"]) == 2
    assert "device" in capsys.readouterr().err


def test_groups_keep_their_type(tmp_path: Path, capsys) -> None:
    rows = "".join(f"{group},{x},{(x * 7) % 5}\n" for group in (10, 9) for x in range(6))
    path = write(tmp_path / "t.csv", "size,x,y\n" + rows)
    assert main(["associate", str(path), "--x", "x", "--y", "y", "--by", "size"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["9", "9", "10", "10"]
    frame = read_frame(path).with_columns(size=pl.date(2020, 1, pl.col("size")))
    frame.write_parquet(tmp_path / "t.parquet")
    assert main(["associate", str(tmp_path / "t.parquet"), "--x", "x", "--y", "y", "--by", "size", "--json"]) == 0
    assert "2020-01-09" in capsys.readouterr().out
