"""What the interactive part of the page holds: names, numbers and sentences, made when the report is written.

A view is a pair of files: here `views/NAME.py` with its data, and `report/web/views/NAME.js`, which draws them. It is
registered where it is defined and named nowhere else; the page decides nothing.
"""

from manifoldscope.report.explore.page import explore
from manifoldscope.report.explore.selection import Selection, select
from manifoldscope.report.explore.view import VIEWS, Explored

__all__ = ["VIEWS", "Explored", "Selection", "explore", "select"]
