"""Phantoms for every test that needs mammograms; nothing is downloaded."""

from pathlib import Path

import pandas as pd
import pytest
from drawn_figures import DRAWN, draw

from mammorgb_utils.data.manifest import write_manifest
from mammorgb_utils.data.phantom import write_cohort


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A cohort of eight usable pairs and one of each excluded kind: folder and manifest rows."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = write_cohort(folder, 8, seed=5, progress=False)
    write_manifest(rows, folder / "manifest.csv")
    return folder, rows


@pytest.fixture(scope="session")
def drawn():
    """Every figure, drawn once for all tests of figures."""
    return {name: draw(name) for name in DRAWN}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest comes first, so that one worker doesn't end alone with it."""
    items.sort(key=lambda item: item.path.name != "test_smoke_study.py")
