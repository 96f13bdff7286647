"""Every figure, drawn once for all tests of figures."""

import pytest
from drawn_figures import DRAWN, draw


@pytest.fixture(scope="session")
def drawn():
    return {name: draw(name) for name in DRAWN}
