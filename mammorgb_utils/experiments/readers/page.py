"""The page that readers see: one file, without answers, network or anything that tells images apart."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from mammorgb_utils.experiments.readers.files import (
    ARTEFACTS,
    CONFIDENCE_ENDS,
    CONSISTENCY_ENDS,
    SCALE,
    SHORTCUTS,
)
from mammorgb_utils.output.pages import render

WINDOW = {"centre": 53, "width": 94}  # at first [% of the grey range]: a little above black, so that air looks alike
_HERE = "mammorgb_utils.experiments.readers"
_SCRIPTS = ("reader_digest.js", "reader_view.js", "reader_form.js", "reader.js")


class Page(NamedTuple):
    """A rendered page, and what a result made on it must bear."""

    html: str
    study: str  # of the images
    digest: str  # of images, questions, script and style


def grey_bytes(pairs: np.ndarray, floor: float) -> np.ndarray:
    """Views as every case shows them: grey below `floor` black, the rest stretched to 8 bits.

    Args:
        pairs: `(N, 2, H, W)` in [0, 1].
        floor: Share of the grey range that is drawn black, in [0, 1).

    Returns:
        `(N, 2, H, W)` uint8.
    """
    stretched = (np.asarray(pairs, dtype=np.float64) - floor) / (1.0 - floor)
    return (np.clip(stretched, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def render_page(cases: list[str], greys: np.ndarray, *, patients: bool) -> Page:
    """The page of a study.

    Every image is its raw greys in base64, so that no length, compression or metadata differs between cases.

    Args:
        cases: Names of the cases, in order.
        greys: `(N, 2, H, W)` uint8, CC first, in the order of `cases`.
        patients: Whether the images are those of patients; the page then says that it must not be shared.
    """
    images = "\n".join(base64.b64encode(pair.tobytes()).decode() for pair in greys)
    of_images = hashlib.sha256(images.encode()).hexdigest()
    config = {"study": of_images[:16], "cases": cases, "height": greys.shape[2], "width": greys.shape[3],
              "scale": SCALE, "window": WINDOW, "confidence": CONFIDENCE_ENDS, "consistency": CONSISTENCY_ENDS,
              "artefacts": [{"name": name, "label": label, "hint": hint, "key": SHORTCUTS[name]}
                            for name, (label, hint) in ARTEFACTS.items()]}
    folder = files(_HERE) / "templates"
    parts = {"images": images, "style": (folder / "reader.css").read_text(encoding="utf-8"),
             "script": "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS),
             "config": json.dumps(config, separators=(",", ":")).replace("<", "\\u003c")}  # inside a script element
    digest = hashlib.sha256("\n".join([parts["style"], parts["script"], parts["config"], of_images]).encode())
    html = render("reader.html", **{name: Markup(text) for name, text in parts.items()}, n_cases=len(cases),
                  patients=patients, artefacts=ARTEFACTS.values())
    return Page(html, of_images[:16], digest.hexdigest())
