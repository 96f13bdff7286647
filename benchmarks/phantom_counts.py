"""What the default phantom cohort holds, counted from its manifest: the figures of docs/data_card.md."""

from __future__ import annotations

import pandas as pd

from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.documents import fill_tables
from mammorgb_utils.runs import PROJECT_ROOT, sha256, write_csv

MANIFEST = PROJECT_ROOT / "data_manifest.csv"
RESULT = PROJECT_ROOT / "benchmarks" / "results" / "phantom_counts.csv"
CARD = PROJECT_ROOT / "docs" / "data_card.md"


def counts() -> pd.DataFrame:
    """One row a fact: `fact`, `value`."""
    frame, protocol = pd.read_csv(MANIFEST, dtype=str), Protocol()
    facts = {"seed": protocol.phantom_seed, "usable pairs asked for": protocol.phantom_pairs,
             "patients, one breast each": frame["patient"].nunique(), "images": len(frame)}
    for split, part in frame.groupby("split"):
        facts |= {f"patients in {split}": part["patient"].nunique(), f"images in {split}": len(part)}
    facts |= {f"{view} images": int((frame["view"] == view).sum()) for view in ("CC", "MLO")}
    facts |= {"images graded BI-RADS 2": int((frame["birads"] == "2").sum()),
              "images with an implant": int((frame["implant"] == "true").sum()),
              "SHA-256 of data_manifest.csv": sha256(MANIFEST)}
    return pd.DataFrame([{"fact": fact, "value": str(value)} for fact, value in facts.items()])


if __name__ == "__main__":
    write_csv(RESULT, counts())
    CARD.write_text(fill_tables(CARD.read_text(encoding="utf-8"), PROJECT_ROOT), encoding="utf-8")
