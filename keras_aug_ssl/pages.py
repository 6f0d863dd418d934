"""HTML pages that need nothing beside themselves, for a desk, a phone, the night and paper: pictures are inside.

A page follows the reader's choice of light or dark and never becomes wider than the screen: what is wider, a table or
preformatted text, scrolls by itself. Tables are sorted by a click on a heading.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence

STYLE = """
:root { color-scheme: light dark; --text: #222; --faint: #595959; --line: #ccc; --ground: #fff; --link: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e6; --faint: #a8a8a8; --line: #484848; --ground: #17191c; --link: #6cb8e6; }
}
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; color: var(--text);
  background: var(--ground); overflow-wrap: break-word; }
a { color: var(--link); }
h1 { line-height: 1.2; margin: 1rem 0; }
h2 { margin: 2.5rem 0 .5rem; scroll-margin-top: 1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.2rem; margin: 0; padding: 0 0 .8rem; list-style: none;
  border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom;
  font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
thead th { border-bottom: 2px solid var(--text); }
thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit;
  cursor: pointer; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
figure { margin: 1rem 0 2rem; }
img { max-width: 100%; height: auto; display: block; background: #fff; border-radius: 4px; }
figcaption { color: var(--faint); margin-top: .4rem; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid var(--line); border-radius: 4px; }
dt { font-weight: bold; }
dd { margin: 0 0 .8rem; }
@media (max-width: 40rem) { th, td { padding: .3rem .4rem; font-size: .9rem; } }
@media print { :root { --text: #000; --ground: #fff; } nav { display: none; } figure, tr { break-inside: avoid; }
  .wide { overflow: visible; } }
"""

# Numbers are compared as numbers, "94.5 ± 0.7" by its mean; a second click turns the order around.
SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.innerHTML = `<button type="button">${heading.innerHTML}</button>`;
    heading.firstChild.onclick = () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      const value = row => { const text = row.cells[column].textContent, number = parseFloat(text);
        return isNaN(number) ? text : number; };
      const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b);
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b)) * (down ? -1 : 1));
      headings.forEach(other => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    };
  });
}
"""


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """An HTML page of (heading, HTML) sections with links to them, complete in itself."""
    links = "".join(f'<li><a href="#{_anchor(heading)}">{html.escape(heading)}</a></li>' for heading, _ in sections)
    body = "\n".join(
        f'<section>\n<h2 id="{_anchor(heading)}">{html.escape(heading)}</h2>\n{content}\n</section>'
        for heading, content in sections
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>\n{body}\n</main>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def picture(png: bytes, caption: str, alt: str | None = None) -> str:
    """An HTML figure that carries its picture inside.

    Args:
        png: the picture's file.
        caption: under the picture, for everybody.
        alt: what is seen, for who can't see it; None leaves it to the caption.
    """
    source = base64.b64encode(png).decode("ascii")
    text = html.escape(alt) if alt else ""
    shown = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure><img alt="{text}" src="data:image/png;base64,{source}">{shown}</figure>'


def paragraphs(*texts: str) -> str:
    """Texts as paragraphs."""
    return "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)


def definitions(meanings: Mapping[str, str]) -> str:
    """Words and what they mean."""
    terms = (f"<dt>{html.escape(word)}</dt><dd>{html.escape(text)}</dd>" for word, text in meanings.items())
    return f"<dl>{''.join(terms)}</dl>"


def preformatted(text: str) -> str:
    """Text kept as it is, line by line."""
    return f"<pre>{html.escape(text)}</pre>"


def _anchor(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lower()).strip("-")
