"""The phantom's data card explains what is in the cohort, and calibration earns no verdict."""

import re

import pandas as pd

from mammorgb_utils.data.phantom.cases import EXTRA_SHARES
from mammorgb_utils.data.phantom.storage import ARTEFACTS
from mammorgb_utils.runs import PROJECT_ROOT

CARD = PROJECT_ROOT / "docs" / "phantom.md"


def test_calibrated_properties_earn_no_verdict():
    results = PROJECT_ROOT / "benchmarks" / "results" / "phantom_properties.csv"
    table = pd.read_csv(results).set_index("property")["status"]
    assert set(table) == {"inside", "outside", "set by us"}
    calibrated = ["IoU of truth masks at 64 px, median", "artefacts, share of usable pairs",
                  "CC and MLO density, Pearson"]
    assert (table[calibrated] == "set by us").all()


def test_the_phantom_card_explains_every_column_and_kind(cohort):
    truth = pd.read_csv(cohort[0] / "truth.csv")
    first = {name for line in CARD.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
             for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert {*truth, *EXTRA_SHARES, *ARTEFACTS} <= first
