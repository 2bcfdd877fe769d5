"""The site: `scripts/docs` builds it into `build/docs`.

Its root is the repository, so that links from the README to pages, and from pages to benchmarks, are checked too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs._generated import fill  # noqa: E402

from headrace import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "headrace"
author = "The headrace maintainers"
copyright = "The headrace maintainers, Apache-2.0"  # noqa: A001
release = version = __version__
root_doc = "docs/index"
language = "en"

extensions = ["myst_parser"]
include_patterns = [
    "docs/**",
    "benchmarks/results/*.md",
    "systems/*/README.md",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [".*", "**/.*", "build", "src", "tests", "scripts", "deploy", "docs/_*", "**/__pycache__"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "colon_fence"]
nitpicky = True

html_theme = "furo"
html_title = f"headrace {release}"
html_static_path = ["_static"]
html_css_files = ["headrace.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

# Pages that people read where they lie; the site has them for the links that lead to them.
APART = ("README", "systems/")


def read(app: Sphinx, docname: str, content: list[str]) -> None:
    """Put what the code says into a page, where `<!-- generated: NAME -->` asks for it."""
    content[0] = fill(content[0])
    if docname.startswith("benchmarks/") and not content[0].startswith("# "):  # a benchmark wrote a bare table
        content[0] = f"# {Path(docname).name.replace('_', ' ').capitalize()}\n\n{content[0]}"
    if docname.startswith(APART):
        content[0] = f"---\norphan: true\n---\n{content[0]}"


def redirect(app: Sphinx, error: Exception | None) -> None:
    """The site's first address leads to its first page."""
    if error is None and app.builder.format == "html":
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>headrace</title>'
        head += '<meta http-equiv="refresh" content="0; url=docs/">'
        page = f'<!doctype html>{head}<a href="docs/">headrace</a>\n'
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Sphinx calls this once."""
    app.connect("source-read", read)
    app.connect("build-finished", redirect)
