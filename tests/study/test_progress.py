"""What is left is told by what units of the same kind have taken, and the share that is done never falls."""

from __future__ import annotations

import io
import time

import pytest

from manifoldscope.study import progress as module
from manifoldscope.study.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_units_take_corrects_what_is_left_of_their_kind(clock):
    shown = Progress(quiet=True)
    shown.start([(("attack", "one"), 1.0)] * 4 + [(("train", "one"), 5.0)])
    assert shown.seconds_left == 9
    shown.begin("first", ("attack", "one"), 1.0)
    clock[0] += 3
    shown.end()
    assert shown.seconds_left == pytest.approx(3 * 3 + 5)
    shown.begin("another network's", ("attack", "two"), 0.0)
    shown.end(computed=False)  # somebody else's says nothing
    assert shown.seconds_left == pytest.approx(3 * 3 + 5)


def test_the_nearest_kind_decides(clock):
    shown = Progress(quiet=True)
    shown.start(
        [(("attack", "quick"), 1.0), (("attack", "slow"), 1.0), (("attack", "slow"), 1.0), (("attack", "new"), 1.0)]
    )
    for model, seconds in (("quick", 1.0), ("slow", 5.0)):
        shown.begin(model, ("attack", model), 1.0)
        clock[0] += seconds
        shown.end()
    assert shown.seconds_left == pytest.approx(5 + 3)  # as the slow one; and the new one as the mean of both


def test_the_share_never_falls_and_ends_at_all(clock):
    shown = Progress(quiet=True)
    shown.start([(("a",), 1.0), (("a",), 1.0), (("b",), 1.0)])
    shares = []
    for group, seconds in (("a", 0.5), ("a", 10.0), ("b", 30.0)):
        shown.begin(group, (group,), 1.0)
        shares.append(shown.share)
        clock[0] += seconds / 2
        shown.tick(0.5)
        shares.append(shown.share)
        clock[0] += seconds / 2
        shown.end()
        shares.append(shown.share)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_only_a_long_stage_says_what_it_does(monkeypatch):
    monkeypatch.setattr(module, "STAGE_AFTER", 0.05)
    stream = io.StringIO()
    shown = Progress(stream)
    with shown.stage("listing 3 images"):
        pass
    with shown.stage("reading 50,000 images") as tick:
        tick(1)
        time.sleep(0.3)
    time.sleep(0.1)
    assert stream.getvalue() == "reading 50,000 images ...\n"


def test_seconds_as_people_say_them():
    assert [duration(s) for s in (8.4, 60, 130, 3 * 3600 + 300)] == ["8 s", "1 min", "2 min 10 s", "3 h 5 min"]
