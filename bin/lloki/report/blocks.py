"""What sections are made of: notes, tables, pictures, plots. `page` turns them into HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from lloki.report import figures

LEVELS = ("good", "doubt", "bad")  # green, amber, red


@dataclass(frozen=True)
class Lamp:
    """A cell of a table with a light: good, doubt or bad."""

    level: str
    text: str = ""


@dataclass(frozen=True)
class Shade:
    """A score of a table: a bar of 0 to 1, or a shade by its place among others (0 to 1)."""

    value: float
    place: float | None = None  # None: a bar
    best: bool = False


@dataclass(frozen=True)
class Link:
    """A link to a file of the results."""

    href: str
    text: str


@dataclass(frozen=True)
class Note:
    """A paragraph; level: a light that says how much it matters."""

    text: str
    level: str = ""
    kind: str = field(default="note", init=False)


@dataclass(frozen=True)
class Table:
    """A table that can be sorted, filtered and saved under its name.

    groups: headings over the columns, with how many columns each spans.
    """

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    groups: Sequence[tuple[str, int]] = ()
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Picture:
    """A picture (PNG) within the page; name: of the same picture among the run's figures."""

    png: bytes
    alt: str
    caption: str = ""
    name: str = ""
    kind: str = field(default="picture", init=False)

    @property
    def source(self) -> str:
        """The address that holds the picture itself."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Plot:
    """A plot that the page draws itself: plotly's traces and layout."""

    name: str
    traces: Sequence[Mapping]
    layout: Mapping
    caption: str = ""
    kind: str = field(default="plot", init=False)


@dataclass(frozen=True)
class Section:
    """A section: heading, what it answers, what is in sight, and what is folded (by its title)."""

    id: str
    title: str
    lead: str
    blocks: Sequence[object] = ()
    folded: Mapping[str, Sequence[object]] = field(default_factory=dict)


def picture(drawn: Figure, name: str, alt: str, caption: str = "", dpi: int = 130) -> Picture:
    """A figure as a picture of the page."""
    return Picture(figures.png(drawn, dpi), alt, caption, name)


def absent(what: str, remedy: str) -> Note:
    """The note in a section without material."""
    return Note(f"Not in this report: {what}. {remedy}", "missing")


def shown(value: object) -> str:
    """A value as a reader wants it: thousands separated, figures rounded, a dash for nothing."""
    if isinstance(value, (Lamp, Link)):
        return value.text
    if isinstance(value, Shade):
        return f"{value.value:.3f}"
    if value is None or value != value or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value)) or "–"
    return str(value)


def order(value: object) -> object:
    """What a table sorts a cell by: its number, a light's place, nothing for text."""
    if isinstance(value, Lamp):
        return LEVELS.index(value.level) if value.level in LEVELS else -1
    if isinstance(value, Shade):
        return value.value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and value == value else None
