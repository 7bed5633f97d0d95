"""Hooks of the documentation site: pages from outside ``docs``, and figures drawn into the page.

The repository's own pages (changelog, contributing, examples) become pages of the site, and links
between them and the documentation are turned so that they hold in both places. A figure under
``figures/`` is put into the page itself, where the site's palette reaches its colors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
FIGURE = re.compile(r'<p><img alt="[^"]*" src="(?:\.\./)*figures/([\w-]+)\.svg" ?/?></p>')


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside."""
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between the repository's root and ``docs``."""
    outside = page.file.src_uri in OUTSIDE.values()

    def turned(match: re.Match[str]) -> str:
        path, mark, fragment = match[1].partition("#")
        if outside:
            path = OUTSIDE.get(path, path.removeprefix("docs/"))
        elif path.startswith("../"):
            path = OUTSIDE.get(path.removeprefix("../"), path)
        return f"]({path}{mark}{fragment})"

    return LINK.sub(turned, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Put figures into the page."""

    def drawn(match: re.Match[str]) -> str:
        svg = (ROOT / "docs" / "figures" / f"{match[1]}.svg").read_text(encoding="utf-8")
        return f'<figure class="deed">{svg}</figure>'

    return FIGURE.sub(drawn, html)
