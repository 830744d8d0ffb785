"""The frame of pages in HTML: one file that needs no other."""

from __future__ import annotations

import html
from collections.abc import Iterable

_STYLE = """
body {{
  font: 15px/1.45 system-ui, sans-serif; color: #222;
  margin: 2rem auto; max-width: {width}rem; padding: 0 1rem;
}}
table {{ border-collapse: collapse; margin: 0.6rem 0 1.4rem; }}
"""


def html_page(title: str, lines: Iterable[str], *, width_rem: float, style: str = "") -> str:
    """A page.

    Parameters
    ----------
    title : str
        Plain text.
    lines : iterable of str
        What the body holds, in HTML.
    width_rem : float
        Greatest width of the text [rem].
    style : str
        CSS rules beside those of text and tables.
    """
    head = [
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8"/>',
        f"<title>{html.escape(title)}</title>",
        f"<style>{_STYLE.format(width=width_rem)}{style.lstrip()}</style>", "</head>", "<body>",
    ]  # fmt: skip
    return "\n".join([*head, *lines, "</body>", "</html>"]) + "\n"
