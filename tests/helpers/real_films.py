"""Eight real films for whoever has no MAMMORGB_REAL_DATA: those of `make real-pairs`, where they can be installed."""

from functools import cache
from pathlib import Path

import pytest

from mammorgb_utils.data.archives import AdapterError
from mammorgb_utils.data.archives.real_pairs import install_films
from mammorgb_utils.runs import PROJECT_ROOT


@cache
def _manifest() -> Path | str:
    try:
        return install_films(PROJECT_ROOT / "data" / "real-pairs", seconds=120.0)
    except AdapterError as error:
        return str(error)


def real_films() -> Path:
    """The films' manifest; skips a test where there is no package index."""
    found = _manifest()
    return found if isinstance(found, Path) else pytest.skip(found)
