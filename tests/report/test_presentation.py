"""What styles say, attributes say."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from manifoldscope.report.presentation import unstyled


def test_styles_become_attributes() -> None:
    style = (
        "fill: #ff0000; stroke-dasharray: 2,1; font: italic 700 9px 'DejaVu Sans', Verdana; image-rendering: pixelated"
    )
    root = ElementTree.fromstring(f'<svg><g style="{style}"><path style=""/></g></svg>')
    unstyled(root)
    group = root[0].attrib
    assert group == {
        "fill": "#ff0000",
        "stroke-dasharray": "2,1",
        "font-style": "italic",
        "font-weight": "700",
        "font-size": "9",
        "font-family": "'DejaVu Sans', Verdana",
    }
    assert not root[0][0].attrib
