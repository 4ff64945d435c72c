"""Pieces of HTML for the report. Text from the data is escaped here and nowhere else."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape


class Raw(str):
    """Text that is HTML already."""


def text(value: object) -> str:
    """A value as a reader wants it: thousands separated, figures rounded, a dash for nothing."""
    if isinstance(value, Raw):
        return value
    if value is None or value != value or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value)) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(k))} {text(v)}" for k, v in value.items())
    return escape(str(value))


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]] | Mapping[str, Sequence[Sequence[object]]],
    kind: str = "",
) -> Raw:
    """A table that scrolls sideways on a narrow screen; numbers stand to the right.

    rows may be groups of rows, each with a heading; kind is a class for its look.
    """
    head = "".join(f"<th>{text(name) if name else ''}</th>" for name in header)
    groups = rows if isinstance(rows, Mapping) else {"": rows}
    body = ""
    for heading, members in groups.items():
        if heading and members:
            body += f'<tr><th colspan="{len(header)}">{text(heading)}</th></tr>'
        body += "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in members)
    return Raw(
        f'<div class="lk-scroll"><table class="lk-table {kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    shown = text(value)
    if re.fullmatch(r"-?[\d,]+(\.\d+)?(e[+-]\d+)?", shown):
        return f'<td class="lk-number">{shown}</td>'
    long = isinstance(value, str) and not isinstance(value, Raw) and len(value) > 45
    return f"<td{' class="lk-long"' if long else ''}>{shown}</td>"


def tiles(figures: Mapping[str, object]) -> Raw:
    """Large figures with a caption each."""
    parts = (
        f'<div class="lk-tile"><b>{text(value)}</b><span>{text(name)}</span></div>'
        for name, value in figures.items()
    )
    return Raw(f'<div class="lk-tiles">{"".join(parts)}</div>')


def legend(title: str, entries: Sequence[tuple[str, str]]) -> Raw:
    """Names and colours in as many lines as they need."""
    parts = (
        f'<span class="lk-key"><i style="background:{colour}"></i>{text(name)}</span>'
        for name, colour in entries
    )
    return Raw(
        f'<div class="lk-legend">{f"<b>{text(title)}</b>" if title else ""}{"".join(parts)}</div>'
    )


def picture(png: bytes, caption: object, alt: str, wide: bool = False) -> Raw:
    """A picture within the page, with a caption above it."""
    data = base64.b64encode(png).decode()
    return Raw(
        f'<figure class="lk-figure{" lk-wide" if wide else ""}">'
        f"{f'<figcaption>{text(caption)}</figcaption>' if caption else ''}"
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'
    )


def card(title: object, pictures: Sequence[tuple[bytes, str]]) -> Raw:
    """Pictures (PNG and what it shows) side by side under one title."""
    shown = "".join(
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for png, alt in pictures
    )
    return Raw(
        f'<figure class="lk-figure lk-card"><figcaption>{text(title)}</figcaption>'
        f"<div>{shown}</div></figure>"
    )


def grid(pictures: Sequence[str], columns: int = 3) -> Raw:
    """Pictures beside one another where there is room, one under another where there is not."""
    return Raw(f'<div class="lk-grid" style="--columns:{columns}">{"".join(pictures)}</div>')


def bar(value: float, best: bool) -> Raw:
    """A score of 0 to 1 as a bar with its figure; the best one stands out."""
    share = min(max(value, 0.0), 1.0) * 100
    return Raw(
        f'<div class="lk-bar{" lk-best" if best else ""}"><i style="width:{share:.1f}%"></i>'
        f"<span>{value:.3f}</span></div>"
    )


def shade(value: float, place: float, best: bool) -> Raw:
    """A score on a shade that tells its place (0 to 1) among others; the best one stands out."""
    return Raw(
        f'<span class="lk-shade{" lk-best" if best else ""}" style="--place:{place:.2f}">'
        f"{value:.3f}</span>"
    )


def folded(title: str, content: str) -> Raw:
    """Content behind a line to click on."""
    return Raw(f'<details class="lk-folded"><summary>{text(title)}</summary>{content}</details>')


def paragraph(content: object, kind: str = "") -> Raw:
    """A paragraph; kind: note (a remark), missing (what the report lacks)."""
    return Raw(f"<p{f' class="lk-{kind}"' if kind else ''}>{text(content)}</p>")


@dataclass(frozen=True)
class Section:
    """A section: MultiQC's id, heading, a line below it, and its content (HTML, or a plot)."""

    id: str
    name: str
    description: str
    content: str | dict
    plot: str = "html"
    options: Mapping[str, object] | None = None

    def custom_content(self) -> dict:
        """The section as a MultiQC custom content file holds it."""
        return {
            "id": self.id, "section_name": self.name, "description": self.description,
            "plot_type": self.plot, "data": self.content, **(self.options or {}),
        }  # fmt: skip


def absent(what: str, remedy: str) -> str:
    """The note in a section without material."""
    return paragraph(f"Not in this report: {what}. {remedy}", "missing")
