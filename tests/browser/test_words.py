"""The page writes numbers as the rest of the report does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import manifoldscope.report
from manifoldscope.report import words

SCRIPT = Path(manifoldscope.report.__file__).parent / "web" / "words.js"


def numbers() -> list[float]:
    """Of every size and sign, with ties and the edges at which the notation changes."""
    made = random.Random(0)
    edges = [0.0, -0.0, 1.0, -1.0, 999.0, 1000.0, 9999.0, 10_000.0, -12_345.0, 1e6, 1e14, 1e15, 1e16]
    edges += [0.1, 0.0001, 0.00012345, 0.00001, 0.9995, 0.99949, 99.95, 999.5, 12.5, 1234.5, 0.005, -0.005, 0.015]
    edges += [0.5, 1.5, 2.5, 0.125, 0.375, -0.625, -0.0049]
    return edges + [made.choice((-1, 1)) * made.random() * 10 ** made.randint(-7, 8) for _ in range(400)]


def test_numbers_are_written_as_in_the_rest_of_the_report(browser: Any) -> None:
    page = browser.new_page()
    source = SCRIPT.read_text(encoding="utf-8").replace("export function", "function")
    page.evaluate("(source) => { window.words = Function(`${source}; return { number, coefficient }`)(); }", source)
    many = numbers()
    for digits in (2, 3, 4):
        written = page.evaluate("([all, digits]) => all.map((each) => words.number(each, digits))", [many, digits])
        assert list(zip(many, written, strict=True)) == [(each, words.number(each, digits)) for each in many]
    shares = [each for each in many if abs(each) <= 1]
    written = page.evaluate("(all) => all.map((each) => words.coefficient(each))", shares)
    assert list(zip(shares, written, strict=True)) == [(each, words.coefficient(each)) for each in shares]
    page.close()
