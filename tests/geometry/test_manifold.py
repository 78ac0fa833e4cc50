"""What counts as points: the same numbers in any type and layout, or one sentence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import ClassManifold, Cloud, Covariance, Gram, Neighbours, Spectrum, measure
from manifoldscope.geometry.manifold import as_points

NUMBERS = np.random.default_rng(0).integers(-9, 9, (12, 5)).astype(np.float64)


def read_only() -> np.ndarray:
    array = NUMBERS.copy()
    array.flags.writeable = False
    return array


SAME = {
    "big-endian": NUMBERS.astype(">f8"),
    "big-endian whole numbers": NUMBERS.astype(">i4"),
    "reversed twice": np.ascontiguousarray(NUMBERS[::-1, ::-1])[::-1, ::-1],
    "columns first": np.asfortranarray(NUMBERS),
    "read-only": read_only(),
    "every second": np.repeat(NUMBERS, 2, axis=0)[::2],
    "long double": NUMBERS.astype(np.longdouble),
    "half": NUMBERS.astype(np.float16),
    "int8": NUMBERS.astype(np.int8),
    "no mask": np.ma.array(NUMBERS, mask=False),
    "matrix": np.asmatrix(NUMBERS),
    "nested lists": NUMBERS.tolist(),
    "float8": torch.from_numpy(NUMBERS).to(torch.float8_e4m3fn),
    "gradient": torch.from_numpy(NUMBERS).requires_grad_(),
    "negative bit": torch.from_numpy(1j * -NUMBERS).conj().imag,
}

REFUSED = {
    "complex array": (NUMBERS + 1j, "complex"),
    "complex tensor": (torch.from_numpy(NUMBERS) + 1j, "complex"),
    "masked": (np.ma.array(NUMBERS, mask=NUMBERS > 7), "masked"),
    "objects": (NUMBERS.astype(object), "object"),
    "fields": (np.zeros((4, 3), [("a", "f4"), ("b", "f4")]), "structured"),
    "text": (NUMBERS.astype(str), "expected real numbers"),
    "times": (NUMBERS.astype("datetime64[s]"), "expected real numbers"),
    "scipy sparse": (sparse.csr_matrix(NUMBERS), "toarray"),
    "scipy sparse array": (sparse.coo_array(NUMBERS), "toarray"),
    "torch sparse": (torch.from_numpy(NUMBERS).to_sparse(), "to_dense"),
    "meta": (torch.zeros(3, 4, device="meta"), "meta"),
    "ragged": ([[1.0, 2.0], [3.0]], "not a matrix"),
    "nothing": (None, "expected real numbers"),
    "one long": (np.arange(5.0), "n_points, n_features"),
    "beyond 2^53": (2**60 + np.arange(12).reshape(4, 3), "subtract a constant"),
    "beyond 2^53, unsigned": (np.full((4, 3), 2**63 + 1, np.uint64), "subtract a constant"),
    "beyond float64": (np.full((4, 3), np.finfo(np.longdouble).max), "infinity"),
}


@pytest.mark.parametrize("form", SAME)
def test_the_same_numbers_in_any_form_are_the_same_points(form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_points(SAME[form])
    assert found.dtype in (torch.float32, torch.float64)
    assert np.array_equal(found.numpy(), NUMBERS)


def test_a_point_that_stands_for_all_is_measured() -> None:
    assert measure("pca_dimension", np.broadcast_to(NUMBERS[0], (12, 5))).value == 0


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_matrix_of_real_numbers_is_refused_everywhere(form: str) -> None:
    points, words = REFUSED[form]
    doors = (ClassManifold, Cloud, Spectrum.of, Gram.of, Covariance.of, lambda given: Neighbours.of(given, k=1))
    for door in doors:
        with pytest.raises(GeometryError, match=words) as caught:
            door(points)
        assert "\n" not in str(caught.value)


def test_nested_and_quantised_tensors_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, that these are prototypes or old
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
        quantised = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    for points, words in ((nested, "nested"), (quantised, "dequantize")):
        with pytest.raises(GeometryError, match=words):
            as_points(points)


def test_whole_numbers_keep_all_their_digits() -> None:
    for offset in (0, 2**24, 2**40, -(2**52)):
        found = as_points(offset + np.arange(6).reshape(3, 2))
        assert (found.double() - offset).tolist() == [[0, 1], [2, 3], [4, 5]]
