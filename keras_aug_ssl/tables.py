"""Tables of texts, heading first, for a terminal and for a page."""

from __future__ import annotations

import html
from collections.abc import Sequence


def as_text(cells: Sequence[Sequence[str]]) -> str:
    """Aligned columns for a terminal: the first to the left, the others to the right.

    Example:
        >>> print(as_text([["method", "seconds"], ["plain", "7"]]))
        method  seconds
        ------  -------
        plain         7
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in [cells[0], ["-" * width for width in widths], *cells[1:]]:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([row[0].ljust(len(first)), *others]).rstrip())
    return "\n".join(lines)


def as_html(cells: Sequence[Sequence[str]]) -> str:
    """An HTML table, in a block that scrolls by itself where it is wider than the screen.

    Example:
        >>> as_html([["a"], ["<"]])
        '<div class="wide"><table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;</td></tr></tbody></table></div>'
    """

    def row(tag: str, values: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values) + "</tr>"

    body = "".join(row("td", values) for values in cells[1:])
    return f'<div class="wide"><table><thead>{row("th", cells[0])}</thead><tbody>{body}</tbody></table></div>'
