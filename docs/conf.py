"""The site's settings, for Sphinx: `make docs`. The source is the repository: links lead where a host leads them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "site")]

import keras_aug_ssl  # noqa: E402

# Reached as a module of this name; its file lies elsewhere, and autodoc imports what is before the last dot.
sys.modules["keras_aug_ssl.calibration"] = keras_aug_ssl.calibration

project = "keras_aug_ssl"
author = "the keras_aug_ssl authors"
release = version = keras_aug_ssl.__version__

# The contents: each page's children, appended to it while the site is built, so that its text stays plain Markdown.
contents = {
    "README": [
        "docs/guides/index",
        "build/gallery/index",
        "docs/reference/index",
        "docs/commands",
        "docs/notebooks",
        "docs/measurements",
        "docs/faq",
        "docs/versions",
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
    ],
    "docs/guides/index": [
        "docs/guides/augment",
        "docs/guides/masks_and_boxes",
        "docs/guides/volumes",
        "docs/guides/mix_and_balance",
        "docs/guides/self_train",
        "docs/guides/consistency",
        "docs/guides/attack",
        "docs/guides/robust",
        "docs/guides/rare_class",
        "docs/guides/regression",
        "docs/guides/scale",
        "docs/scale",
        "docs/guides/reproduce",
        "docs/guides/own_classes",
        "docs/guides/migrate",
        "docs/backbones",
    ],
    "docs/reference/index": [
        "docs/reference/layers",
        "docs/reference/data",
        "docs/reference/self_training",
        "docs/reference/consistency",
        "docs/reference/adversarial",
        "docs/reference/figures",
        "docs/reference/extending",
    ],
    "docs/notebooks": sorted(f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")),
    "docs/measurements": sorted(
        f"benchmarks/results/{path.stem}" for path in (ROOT / "benchmarks/results").glob("*.md")
    ),
}

root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/*/*.md",
    "notebooks/*.ipynb",
    "benchmarks/results/*.md",
    "build/gallery/*.md",
    "build/reference/*.rst",
]
exclude_patterns = [".venv*", "build/docs", "build/doctrees"]  # not even looked through
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docstrings",
    "linking",
    "pages",
]
templates_path = [str(ROOT / "docs" / "site" / "templates")]  # autosummary looks from the source, not from here
nitpicky = True
# Types in signatures are of other projects, or of the engine. What pages and docstrings name is checked by linking.py.
nitpick_ignore_regex = [("py:(class|exc)", ".*")]

# Docstrings: Google's sections; what an argument is stands in its text, with shape and unit.
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # a hook that is written anew is the engine's matter, unless it says something
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Class attributes", "params_style")]
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "literal"  # one pair of backticks is code, as in Markdown

# Markdown and notebooks.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run them; what they show is saved in them
suppress_warnings = ["myst.header"]  # tables of measurements begin below a heading of their own
nb_merge_streams = True

html_theme = "pydata_sphinx_theme"
html_title = "keras_aug_ssl"
html_extra_path = ["site/index.html"]
html_static_path = ["site/style.css"]
html_sidebars = {page: [] for page in contents["README"] if page not in contents}  # nothing to go on to below them
html_css_files = ["style.css"]
html_theme_options = {
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_end": [],
}
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
