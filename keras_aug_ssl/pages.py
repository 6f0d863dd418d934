"""HTML pages that need nothing beside themselves: pictures are inside the file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .35rem .9rem; border-bottom: 1px solid #ccc; text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #222; }
img { max-width: 100%; display: block; margin: 1rem 0; }
figure { margin: 0 0 2rem; }
figcaption { color: #555; }
"""


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """An HTML page of (heading, HTML) sections, complete in itself."""
    body = "\n".join(f"<h2>{html.escape(heading)}</h2>\n{content}" for heading, content in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def picture(png: bytes, caption: str) -> str:
    """An HTML figure that carries its picture inside."""
    source = base64.b64encode(png).decode("ascii")
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{source}"><figcaption>{text}</figcaption></figure>'


def preformatted(text: str) -> str:
    """Text kept as it is, line by line."""
    return f"<pre>{html.escape(text)}</pre>"
