"""Batches cover what there is once, and go on smaller where memory runs out."""

from __future__ import annotations

import pytest

from manifoldscope.errors import ModelError
from manifoldscope.vision.batching import BatchSize, bucket


def test_every_place_is_done_once_also_where_batches_are_halved():
    done: list[int] = []

    def work(where: slice) -> None:
        if where.stop - where.start > 3:
            raise MemoryError
        done.extend(range(where.start, where.stop))

    size = BatchSize(10)
    with pytest.warns(UserWarning, match="it goes on with [53] images at a time"):
        size.over(17, work)
    assert done == list(range(17))
    assert (size.wanted, size.fits) == (10, 3)


def test_the_allocator_of_the_cpu_is_known_by_its_words_and_other_errors_are_not_swallowed():
    errors = [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]

    def once(where: slice) -> None:
        if errors:
            raise errors.pop()

    with pytest.warns(UserWarning, match="goes on with 2"):
        BatchSize(4).over(4, once)
    errors.append(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        BatchSize(4).over(4, once)
    with pytest.raises(ModelError, match="batch_size = 0"):
        BatchSize(0)


def test_few_sizes_hold_any_number():
    sizes = [bucket(n, 100) for n in range(1, 101)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert set(sizes) == {100, 91, 78, 65, 52, 39, 26, 13, 7, 4, 2, 1}
