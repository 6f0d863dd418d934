"""What the site has beyond the pages in the repository: the contents, the gallery, and tables of the laws."""

from __future__ import annotations

import gallery
import names
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = "benchmarks/results/"


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Appends to a page the list of its children, and gives a title to tables that benchmarks wrote."""
    if page.startswith(RESULTS):
        title = page.removeprefix(RESULTS).replace("_", " ").capitalize()
        source[0] = f"# {title}\n\n{source[0]}"
    children = app.config.contents.get(page)
    if children:
        source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "".join(f"/{child}\n" for child in children) + "```\n"


class Laws(SphinxDirective):
    """`{laws} LAYER_LAWS`: a list of the laws of that name, each with its sentence."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        laws = names.found(f"testing.{self.arguments[0]}").values()
        lines = [f"- **{law.name}**: {' '.join(law.sentence.split())}" for law in laws]
        return self.parse_text_to_nodes("\n".join(lines))


def make_gallery(app: Sphinx) -> None:
    gallery.write(names.REFERENCE.parents[1] / "build" / "gallery")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("contents", {}, "env")
    app.add_directive("laws", Laws)
    app.connect("builder-inited", make_gallery, priority=100)  # before Sphinx looks for pages
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
