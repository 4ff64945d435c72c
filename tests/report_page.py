"""Sections of the report as the page writes them."""

from lloki.report import page


def html(section):
    """A section's HTML."""
    return str(page.environment().get_template("blocks.html").module.section(section))
