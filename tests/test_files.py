import os
import socket

import pytest

from manifoldscope.files import UnfitFileError, file_digest, open_regular, read_bytes


def test_a_file_is_read_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"abc"
    assert file_digest(tmp_path / "link").startswith("ba7816bf")


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


def make_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("make", "said"),
    [(make_pipe, "named pipe"), (make_socket, "socket"), (make_device, "device"), (os.mkdir, "folder")],
)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, monkeypatch, make, said):
    monkeypatch.chdir(tmp_path)
    make((tmp_path / "it").relative_to(tmp_path))
    with pytest.raises(UnfitFileError, match=said):
        open_regular("it")


def test_a_name_with_a_null_character_is_refused():
    with pytest.raises(UnfitFileError, match="null character"):
        open_regular("a\0b")


def test_a_bound_is_kept_without_reading_the_rest(tmp_path):
    (tmp_path / "file").write_bytes(b"abcd")
    assert read_bytes(tmp_path / "file", at_most=4) == b"abcd"
    with pytest.raises(UnfitFileError, match="larger than"):
        read_bytes(tmp_path / "file", at_most=3)


def test_a_missing_file_raises_as_ever(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")
