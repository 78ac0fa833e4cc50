"""Mutated images and datasets: read, skipped or refused in one sentence; no other error, and bounded memory."""

from __future__ import annotations

import gzip
import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from manifoldscope.vision.datasets import load
from manifoldscope.vision.images import ImageSet, draw
from manifoldscope.vision.raw import FileImages
from tests.fuzz.law import bounded_memory, success_or_one_sentence
from tests.fuzz.mutate import budget, mutations


def encoded(kind: str, mode: str = "RGB", **options) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


IMAGES = {
    "png": encoded("PNG"),
    "palette.png": encoded("PNG", "P", transparency=b"\0\x80\xff"),
    "sixteen.png": encoded("PNG", "I;16"),
    "jpg": encoded("JPEG"),
    "tif": encoded("TIFF", compression="tiff_lzw"),
    "gif": encoded("GIF", "P"),
    "bmp": encoded("BMP"),
    "webp": encoded("WEBP", lossless=True),
    "ppm": encoded("PPM"),
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("warned", ["error", "ignore"])
def test_mutated_images_are_drawn_or_skipped(kind, warned, tmp_path):
    path = tmp_path / "x"
    with bounded_memory(), warnings.catch_warnings():
        warnings.simplefilter(warned)
        for content in mutations(IMAGES[kind], budget(20), seed=1):
            path.write_bytes(content)
            images = ImageSet(FileImages([path]), torch.zeros(1, dtype=torch.int64), ["x"], {0: "class"})
            drawn = draw(images, classes=[0], images_per_class=None, seed=0, at_least=0)
            assert len(drawn.images) + len(drawn.skipped_images) == 1
            with success_or_one_sentence():
                images.read(0)


def archive(save) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).random((6, 5, 5))
    save(buffer, images=pixels, labels=np.arange(6) % 2, class_names=np.array(["cat", "dög"]))
    return buffer.getvalue()


ARCHIVES = {"npz": archive(np.savez), "compressed": archive(np.savez_compressed)}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.filterwarnings("ignore")
def test_mutated_arrays_are_loaded_or_refused(kind, tmp_path):
    with bounded_memory():
        for content in mutations(ARCHIVES[kind], budget(100), seed=2):
            (tmp_path / "x.npz").write_bytes(content)
            with success_or_one_sentence():
                load("arrays", root=tmp_path / "x.npz").digest()


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_mutated_idx_files_are_loaded_or_refused(packed, tmp_path):
    suffix = ".gz" if packed else ""
    files = {
        tmp_path / f"t10k-images-idx3-ubyte{suffix}": idx(np.arange(6 * 28 * 28, dtype=np.uint8).reshape(6, 28, 28)),
        tmp_path / f"t10k-labels-idx1-ubyte{suffix}": idx(np.arange(6, dtype=np.uint8)),
    }
    whole = {path: gzip.compress(content) if packed else content for path, content in files.items()}
    with bounded_memory():
        for path, content in whole.items():
            for mutated in mutations(content, budget(75), seed=3):
                for other in whole:
                    other.write_bytes(mutated if other == path else whole[other])
                with success_or_one_sentence():
                    load("mnist", root=tmp_path)
