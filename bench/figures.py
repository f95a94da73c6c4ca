"""
This module is a maker of figures: SVG text, drawn by hand, without a library.

Each figure stands on a panel of its own and follows the reader's light or dark scheme;
where the page's scheme differs from the reader's, the panel keeps it readable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 760
STYLE = """
.panel{fill:#fff;stroke:#d0d7de}.text{fill:#1f2328}.soft{fill:#59636e}
.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#59636e;stroke-width:1}
.a{fill:#0969da;stroke:#0969da}.b{fill:#bc4c00;stroke:#bc4c00}.c{fill:#8c959f;stroke:#8c959f}
.line{fill:none;stroke-width:2}.limit{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:6 4}
text{font:12.5px system-ui,sans-serif}.small{font-size:11px}.title{font-size:14px;font-weight:600}
@media (prefers-color-scheme:dark){.panel{fill:#161b22;stroke:#3d444d}.text{fill:#f0f6fc}
.soft{fill:#9198a1}.grid{stroke:#30363d}.axis{stroke:#9198a1}.a{fill:#58a6ff;stroke:#58a6ff}
.b{fill:#f0883e;stroke:#f0883e}.c{fill:#768390;stroke:#768390}.limit{stroke:#f85149}}
"""


@dataclass(frozen=True, slots=True)
class Measure:
    """One bar: its label, its length, the text at its end; `tone` is a, b or c."""

    label: str
    value: float
    shown: str
    tone: str = "c"


@dataclass(frozen=True, slots=True)
class Panel:
    """
    One diagram of values over sizes; sizes run on a logarithmic axis.

    `limit` draws a dashed line; `ideal` draws what exact proportion to the largest
    point would be.
    """

    title: str
    points: Sequence[tuple[float, float]]
    size_labels: Sequence[str]
    value_labels: Sequence[tuple[float, str]]
    is_logarithmic: bool = False
    limit: float | None = None
    has_ideal: bool = False


def bar_chart(title: str, groups: Sequence[tuple[str, Sequence[Measure]]]) -> str:
    """Return horizontal bars, a group for each thing measured."""
    left, right, step = 345, 70, 26
    parts: list[str] = []
    y = 44
    for heading, measures in groups:
        parts.append(_text(20, y, heading, "text title"))
        y += 14
        longest = max(measure.value for measure in measures)
        for measure in measures:
            length = (WIDTH - left - right) * measure.value / longest
            parts.append(_text(left - 10, y + 14, measure.label, "text", "end"))
            parts.append(
                f'<rect class="{measure.tone}" x="{left}" y="{y + 3}" rx="2"'
                f' width="{max(length, 1):.1f}" height="{step - 10}"/>'
            )
            parts.append(_text(left + length + 8, y + 14, measure.shown, "soft"))
            y += step
        y += 26
    return _svg(title, y - 10, parts)


def diagrams(title: str, panels: Sequence[Panel]) -> str:
    """Return diagrams side by side."""
    height, gap = 300, 30
    width = (WIDTH - gap * (len(panels) + 1)) / len(panels)
    parts: list[str] = []
    for index, panel in enumerate(panels):
        parts += _diagram(panel, gap + index * (width + gap), width, height)
    return _svg(title, height, parts)


def _diagram(panel: Panel, x: float, width: float, height: float) -> list[str]:
    left, top, bottom = x + 50, 56.0, height - 46
    right = x + width - 10
    sizes = [math.log(size) for size, _ in panel.points]
    low, high = panel.value_labels[0][0], panel.value_labels[-1][0]
    scale = math.log if panel.is_logarithmic else float

    def across(size: float) -> float:
        return (
            left
            + 14
            + (right - left - 28) * (math.log(size) - sizes[0]) / ((sizes[-1] - sizes[0]) or 1)
        )

    def up(value: float) -> float:
        return bottom - (bottom - top) * (scale(value) - scale(low)) / (scale(high) - scale(low))

    parts = [_text(x + 4, 38, panel.title, "text title")]
    for value, label in panel.value_labels:
        parts.append(_line("grid", left, up(value), right, up(value)))
        parts.append(_text(left - 8, up(value) + 4, label, "soft small", "end"))
    parts.append(_line("axis", left, bottom, right, bottom))
    for (size, _), label in zip(panel.points, panel.size_labels, strict=True):
        parts.append(_text(across(size), bottom + 18, label, "soft small", "middle"))
    if panel.limit is not None:
        parts.append(_line("limit", left, up(panel.limit), right, up(panel.limit)))
    if panel.has_ideal:
        (size, _), (last_size, last) = panel.points[0], panel.points[-1]
        start = max(last * size / last_size, low)
        start_size = start * last_size / last
        parts.append(_line("limit", across(start_size), up(start), across(last_size), up(last)))
    path = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in panel.points)
    parts.append(f'<polyline class="a line" style="fill:none" points="{path}"/>')
    for size, value in panel.points:
        parts.append(f'<circle class="a" cx="{across(size):.1f}" cy="{up(value):.1f}" r="4"/>')
    return parts


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
        f' role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="panel" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}"'
        f' rx="8"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
