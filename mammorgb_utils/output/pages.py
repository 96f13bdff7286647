"""Self-contained HTML pages: their templates, and the tables and pictures that go into them."""

from __future__ import annotations

import base64
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from mammorgb_utils.output.style import in_style
from mammorgb_utils.output.tables import is_number, rounded
from mammorgb_utils.runs import atomic_path

MAX_ROWS = 60  # of a table on a page; the CSV has all
_PIXELS_PER_MM = 300 / 25.4  # of the study's figures
_CSS_PER_MM = 96 / 25.4 * 1.25  # shown somewhat larger than in print, as 7 pt is small on a screen
_WIDEST = 1560  # px of a picture in the page: sharp on screens of double density, about 210 dpi in print
_COLOURS = 256  # of its palette


@cache
def _templates() -> Environment:
    rooms = ("mammorgb_utils.reporting", "mammorgb_utils.experiments.readers")
    return Environment(loader=ChoiceLoader([PackageLoader(room) for room in rooms]), autoescape=True,
                       trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)


def render(template: str, **content: Any) -> str:
    """A template of a room's `templates/` with its content, which is escaped; what is undefined is an error."""
    return _templates().get_template(template).render(**content)


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Render a template and write it atomically; a page that says the same is left alone."""
    text = render(template, **content)
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path


def page_table(frame: pd.DataFrame, columns: list[str] | None = None) -> dict[str, Any]:
    """A table as a template shows it: rounded as in LaTeX, numbers to the right; what isn't shown is counted."""
    shown = frame[[name for name in columns or [] if name in frame] or list(frame)].reset_index(drop=True)
    text = rounded(shown)
    numeric = [is_number(column) for _, column in shown.items()]
    rows = [[{"text": value, "number": number} for value, number in zip(row, numeric, strict=True)]
            for row in text.head(MAX_ROWS).to_numpy().tolist()]
    return {"header": [{"text": name, "number": number} for name, number in zip(text.columns, numeric, strict=True)],
            "rows": rows, "more_rows": max(0, len(text) - MAX_ROWS), "more_columns": frame.shape[1] - shown.shape[1],
            "wide": shown.shape[1] > 8}


def page_picture(path: Path) -> dict[str, Any]:
    """A figure's PNG for a page, in a palette and no larger than a screen needs, with its size there [CSS px]."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    width, height = (round(side / _PIXELS_PER_MM * _CSS_PER_MM) for side in picture.size)
    if picture.width > _WIDEST:
        picture = picture.resize((_WIDEST, round(picture.height * _WIDEST / picture.width)), Image.Resampling.LANCZOS)
    picture = picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return {"uri": data_uri("image/png", buffer.getvalue()), "width": width, "height": height}


def data_uri(kind: str, content: bytes) -> str:
    """Content as a URI that stands in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def figure_uri(figure: Figure) -> str:
    """A figure as SVG in a data URI, without date, names or fonts; its bytes depend on the figure alone."""
    buffer = BytesIO()
    with in_style(svg_hashsalt="mammorgb", svg_fonttype="path"):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return data_uri("image/svg+xml", buffer.getvalue())
