"""The page: one HTML file by a template, with all that it needs within it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lloki import __version__
from lloki.report import next_steps, verdicts
from lloki.report.blocks import Lamp, Section, Table, order, shown
from lloki.report.cautions import cautions
from lloki.report.explorer import Explorer, explorer
from lloki.report.glossary import explained
from lloki.report.material import Material
from lloki.report.verdicts import Finding

LEVEL_WORDS = {"good": "fine", "doubt": "look at this", "bad": "mend this"}
NAMED = 3  # things in a heading
TEMPLATES = Path(__file__).with_name("templates")
RUN_WORDS = {
    "good": "Nothing stands in the way of using these results",
    "doubt": "Usable; look at {topics} first",
    "bad": "Mend {topics} before using these results",
}


@dataclass(frozen=True)
class SliceVerdict:
    """A slice's row: its level, what stands out, what to do, all findings."""

    sample: str
    technology: str
    cells: int
    level: str
    words: str
    remedy: str
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Verdict:
    """The run's level, in words, its findings, its slices."""

    level: str
    words: str
    findings: Sequence[Finding]
    slices: Sequence[SliceVerdict]


def flags(text: str) -> Markup:
    """A text whose options (`--name`) are not broken over lines."""
    return Markup(re.sub(r"(--[a-z][\w-]+)", r'<code class="flag">\1</code>', str(escape(text))))


def verdict(material: Material) -> Verdict:
    """Of the run: the worst of its own findings and of its slices."""
    slices = [_of_slice(material, sample) for sample in material.samples]
    findings = verdicts.of_run(material)
    everything = [*findings, *(one for own in slices for one in own.findings)]
    level = verdicts.worst(everything)
    topics = list(dict.fromkeys(one.topic for one in everything if one.level == level))
    if len(topics) > NAMED:
        topics = [f"{len(topics)} things"]
    listed = ", ".join(topics[:-1]) + (" and " if topics[1:] else "") + "".join(topics[-1:])
    return Verdict(level, RUN_WORDS[level].format(topics=listed), findings, slices)


def _of_slice(material: Material, sample: str) -> SliceVerdict:
    findings = verdicts.of_slice(material, sample)
    worst = verdicts.worst(findings)
    leading = [one for one in findings if one.level == worst]
    if worst == "good":  # of all that is fine, what a reader would not guess
        leading = sorted(leading, key=lambda one: one.topic != "propagation")
    words = leading[0].words if leading else "No stage recorded anything of it."
    more = f" (and {len(leading) - 1} more)" if worst != "good" and len(leading) > 1 else ""
    cells = material.samples[sample]
    return SliceVerdict(
        sample, str(material.technology.values[cells[0]]), len(cells), worst, words + more,
        leading[0].remedy if leading else "", findings,
    )  # fmt: skip


def environment() -> Environment:
    """Templates, which escape all text, and what they call."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    made.filters |= {"flags": flags, "shown": shown, "order": order, "explained": explained}
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False}
    return made


def render(
    title: str, date: str, sentence: str, tiles: dict, sections: Sequence[Section],
    citations: Sequence[str], material: Material,
) -> str:  # fmt: skip
    """The whole page. The same for the same material, title and date."""
    there, absent = [], []
    for section in sections:
        (absent if is_absent(section) else there).append(section)
    cells: Explorer = explorer(material)
    return environment().get_template("page.html").render(
        title=title, date=date, sentence=sentence, tiles=tiles, verdict=verdict(material),
        cautions=_cautions(material), explorer=cells, steps=next_steps.steps(material),
        sections=there, absent=absent, citations=citations, version=__version__,
        style=Markup(_text("report.css")), plotly=plotly_script(),
        script=Markup(_text("explorer.js") + _text("report.js")),
    )  # fmt: skip


def is_absent(section: Section) -> bool:
    """Whether a section only says that its material is missing."""
    levels = [getattr(block, "level", None) for block in section.blocks]
    return levels == ["missing"] and not any(section.folded.values())


def plotly_script() -> str:
    """The part of plotly.js for points on WebGL, gzipped, in base64; the whole starts 1.5 s later.

    It is `dist/plotly-gl2d.min.js` of the npm package plotly.js 4.1.1 (MIT), by `gzip -9n`.
    """
    return base64.b64encode((TEMPLATES / "plotly-gl2d.min.js.gz").read_bytes()).decode()


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _cautions(material: Material) -> Table:
    rows = [
        (Lamp(one.level, LEVEL_WORDS[one.level]), one.sample, one.text, one.remedy, one.stage)
        for one in cautions(material.records, list(material.samples))
    ]
    return Table("warnings", ("weight", "slice", "warning", "what to do", "stage"), rows)
