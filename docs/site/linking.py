"""Code in backticks that names something public becomes a link to the reference; a `kas.` name that isn't there fails.

So pages and docstrings stay plain text, also where a code host shows them, and can't name what does not exist.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

import names
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)
NAME = re.compile(r"(?:kas|keras_aug_ssl)\.([A-Za-z_][\w.]*\w)(?:\(.*\))?", re.DOTALL)
MODULES = {"layers": "layers", "data": "data", "rules": "self_training", "calibration": "self_training",
           "consistency": "consistency", "losses": "consistency", "adversarial": "adversarial", "plots": "figures",
           "testing": "extending", "draws": "extending", "scale": "self_training"}  # fmt: skip


@functools.cache
def short_names() -> dict[str, str]:
    """What stands for one entry only when it is written without `kas.`: `RandomFlip`, `FixMatch`."""
    last = {name: name.rpartition(".")[2] for name in names.listed()}
    times = Counter(last.values())
    return {short: name for name, short in last.items() if times[short] == 1 and short[0].isupper()}


@functools.cache
def place(name: str) -> tuple[str, str] | None:
    """Page and anchor of what `kas.<name>` is: an entry, a member of one, or a module; None when nothing has it."""
    if name in MODULES:
        return f"docs/reference/{MODULES[name]}", ""
    owner, _, member = name.rpartition(".")
    if name.endswith("_LAWS"):
        return "docs/reference/extending", ""
    try:
        entry = names.entry_of(name)
        if entry is None and owner and names.entry_of(owner):
            entry = names.entry_of(owner)
            return f"build/reference/keras_aug_ssl.{entry}", f"keras_aug_ssl.{entry}.{member}"
    except AttributeError:
        return None
    return entry and (f"build/reference/keras_aug_ssl.{entry}", f"keras_aug_ssl.{entry}")


class LinkNames(SphinxPostTransform):
    """Replaces literals that name something public by links."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(nodes.literal)):
            if any(isinstance(above, (nodes.reference, nodes.title)) for above in _above(node)):
                continue
            text = node.astext()
            full = NAME.fullmatch(text)
            name = full.group(1) if full else short_names().get(text.partition("(")[0], "")
            if not name:
                continue
            there = place(name)
            if there:
                node.replace_self(self._link(node, *there))
            elif full:
                logger.warning("the reference has no kas.%s", name, location=node, type="ref", subtype="kas")

    def _link(self, node: nodes.literal, page: str, anchor: str) -> nodes.reference:
        uri = self.app.builder.get_relative_uri(self.env.docname, page)
        link = nodes.reference("", "", refuri=f"{uri}#{anchor}" if anchor else uri, internal=True)
        link += node.deepcopy()
        return link


def _above(node: nodes.Node) -> Any:
    while node.parent is not None:
        node = node.parent
        yield node


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
