"""The data card of the phantom cohort names what is there."""

import re

import pandas as pd

from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, sha256

CARD = (PROJECT_ROOT / "docs" / "data_card.md").read_text(encoding="utf-8")


def test_every_column_of_the_truth_is_named_once(cohort):
    table = CARD.split("| group | columns |")[1].split("\n\n")[0]
    named = re.findall(r"`(\w+)`", table)
    assert sorted(named) == sorted(pd.read_csv(cohort[0] / "truth.csv"))


def test_counts_are_those_of_the_manifest():
    results = PROJECT_ROOT / "benchmarks" / "results" / "phantom_counts.csv"
    facts = pd.read_csv(results, dtype=str).set_index("fact")["value"]
    manifest, protocol = pd.read_csv(PROJECT_ROOT / "data_manifest.csv", dtype=str), Protocol()
    assert facts["SHA-256 of data_manifest.csv"] == sha256(PROJECT_ROOT / "data_manifest.csv"), \
        "count anew: python benchmarks/phantom_counts.py"
    assert int(facts["images"]) == len(manifest)
    assert int(facts["patients in train"]) == manifest.loc[manifest["split"] == "train", "patient"].nunique()
    assert (facts["seed"], facts["usable pairs asked for"]) == (str(protocol.phantom_seed), str(protocol.phantom_pairs))
    assert f"data/phantom-{protocol.phantom_pairs}-{protocol.phantom_seed}/truth.csv" in CARD
