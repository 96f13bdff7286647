"""Numbers in the documents come from the files that they name."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

from mammorgb_utils.data.phantom.plan import EXTRA_SHARES
from mammorgb_utils.data.phantom.storage import ARTEFACTS
from mammorgb_utils.data.phantom.truth import TRUTH_COLUMNS

ROOT = Path(__file__).resolve().parent.parent
CARD = ROOT / "docs" / "phantom.md"
BLOCK = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.S)
BLOCKS = [(path.relative_to(ROOT), *match) for path in sorted((ROOT / "docs").glob("*.md"))
          for match in BLOCK.findall(path.read_text(encoding="utf-8"))]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def test_the_phantom_card_has_its_table():
    assert (Path("docs/phantom.md"), "benchmarks/results/phantom_properties.csv") in [block[:2] for block in BLOCKS]


@pytest.mark.parametrize(("document", "source", "block"), BLOCKS, ids=lambda part: str(part)[:50].strip())
def test_a_table_in_a_document_equals_its_file(document, source, block):
    header, rule, *body = block.strip().splitlines()
    assert set(rule) <= set("|- ")
    with (ROOT / source).open(encoding="utf-8", newline="") as handle:
        stated = list(csv.reader(handle))
    assert [cells(header), *map(cells, body)] == stated, f"{document}: write the table anew from {source}"


def test_calibrated_properties_earn_no_verdict():
    table = pd.read_csv(ROOT / "benchmarks" / "results" / "phantom_properties.csv").set_index("property")["status"]
    assert set(table) == {"inside", "outside", "set by us"}
    calibrated = ["IoU of truth masks at 64 px, median", "artefacts, share of usable pairs",
                  "CC and MLO density, Pearson"]
    assert (table[calibrated] == "set by us").all()


def test_the_phantom_card_explains_every_column_and_kind():
    first = {name for line in CARD.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
             for name in re.findall(r"`([^`]+)`", cells(line)[0])}
    assert {*TRUTH_COLUMNS, *EXTRA_SHARES, *ARTEFACTS} <= first
