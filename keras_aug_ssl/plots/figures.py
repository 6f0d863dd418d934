"""What all figures share: they belong to nobody, show texts literally, and become PNG files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#555555"
SKY, PURPLE = "#56B4E9", "#CC79A7"  # the palette's next
MARKERS = "osD^vP*X"


def to_png(figure: Figure, dots_per_inch: int = 120) -> bytes:
    """The figure as the bytes of a PNG file.

    Args:
        figure: any matplotlib figure.
        dots_per_inch: pixels per inch of the figure's size.

    Returns:
        The file's content.

    Example:
        >>> to_png(kas.plots.image_grid([[[[0.0, 1.0], [1.0, 0.0]]]]))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """A white figure of a size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib: pip install "keras_aug_ssl[demo]".') from error
    return Figure(figsize=(width, height), facecolor="white")


def laid_out(figure: Figure) -> Figure:
    """A figure of axes, arranged so that no text lies on another."""
    figure.set_layout_engine("constrained")
    return literal(figure)


def literal(figure: Figure) -> Figure:
    """Shows texts as they are: a name with two dollar signs is no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure
