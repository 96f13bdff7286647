"""Notebooks and Markdown as HTML, formulas as MathML: what a page holds, before its links are laid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import ExtractOutputPreprocessor
from pygments.formatters import HtmlFormatter

_STYLES = {"light": "default", "dark": "github-dark"}


class _Renderer(IPythonRenderer):
    """Formulas as browsers draw them by themselves."""

    def inline_math(self, body: str) -> str:
        return convert(body)

    def block_math(self, body: str) -> str:
        return convert(body, display="block")


class _Exporter(HTMLExporter):
    """A notebook's cells, without a page around them."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)


def notebook_html(path: Path) -> tuple[BeautifulSoup, dict[str, bytes]]:
    """An executed notebook's cells, and its pictures by the names under which they lie beside the page."""
    return _html(nbformat.read(path, as_version=4), path.stem)


def markdown_html(text: str) -> BeautifulSoup:
    """A Markdown document; its formulas between `$` signs as in notebooks."""
    cell = nbformat.v4.new_markdown_cell(text)
    return _html(nbformat.v4.new_notebook(cells=[cell]), "")[0]


def _html(notebook: nbformat.NotebookNode, name: str) -> tuple[BeautifulSoup, dict[str, bytes]]:
    resources = {"unique_key": name, "output_files_dir": "pictures"}
    exporter = _Exporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True,
                         preprocessors=[ExtractOutputPreprocessor])
    html, resources = exporter.from_notebook_node(notebook, resources)
    soup = BeautifulSoup(html, "html.parser")
    for picture in soup.find_all("img"):
        above = picture.find_previous(["h1", "h2", "h3"])
        if above is not None and (not picture.get("alt") or picture["alt"].startswith("No description")):
            picture["alt"] = f"Figure below “{above.get_text().strip()}”"
    for table in soup.find_all("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0", "role": "region",
                                              "aria-label": "Table"}))
    return soup, dict(resources.get("outputs") or {})


def title_of(soup: Tag, usual: str) -> str:
    """The first heading of a page."""
    heading = soup.find("h1")
    return heading.get_text().strip() if heading else usual


def code_styles() -> str:
    """Colours of code, for light pages and dark ones."""
    return "\n".join(HtmlFormatter(style=style).get_style_defs(f':root[data-theme="{theme}"] .highlight')
                     for theme, style in _STYLES.items())
