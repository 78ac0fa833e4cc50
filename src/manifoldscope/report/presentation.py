"""SVG without styles: what a style says of an element, its attributes say, so that a page needs no inline style."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

_FONT = re.compile(r"^(?:(italic|oblique)\s+)?(?:(bold|[1-9]00)\s+)?([\d.]+)px\s+(.*)$")
_WITHOUT_ATTRIBUTE = ("image-rendering",)  # the page's style sheet says it of all images of figures


def unstyled(root: ElementTree.Element) -> None:
    """Turn the style of every element below into presentation attributes."""
    for element in root.iter():
        for name, value in _declarations(element.attrib.pop("style", "")):
            if name == "font" and (font := _FONT.match(value)):
                slant, weight, size, family = font.groups()
                for part, said in (("style", slant), ("weight", weight), ("size", size), ("family", family)):
                    if said:
                        element.set(f"font-{part}", said)
            elif name not in _WITHOUT_ATTRIBUTE:
                element.set(name, value)


def _declarations(style: str) -> list[tuple[str, str]]:
    parts = (part.partition(":") for part in style.split(";") if ":" in part)
    return [(name.strip(), value.strip()) for name, _, value in parts]
