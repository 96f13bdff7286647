"""The cohort's Croissant metadata, as its own library reads it."""

import json

import mlcroissant
import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.data.manifest import COLUMNS, OPTIONAL
from mammorgb_utils.data.phantom.cases import TRUTH_COLUMNS
from mammorgb_utils.data.phantom.croissant import _words, write_croissant
from mammorgb_utils.runs import PROJECT_ROOT, sha256


@pytest.fixture(scope="module")
def dataset(cohort):
    return mlcroissant.Dataset(str(write_croissant(cohort[0], cohort[0] / "manifest.csv")))


def test_it_is_valid_and_lacks_nothing_that_is_recommended(dataset):
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings, issues.report()
    assert dataset.metadata.name == "mammorgb-phantoms"


def test_both_tables_are_loaded_by_it(dataset, cohort):
    images, truth = (pd.DataFrame(dataset.records(name)) for name in ("images", "truth"))
    rows, known = cohort[1], pd.read_csv(cohort[0] / "truth.csv")
    assert images["images/sha256"].str.decode("utf-8").tolist() == rows["sha256"].tolist()
    assert images["images/birads"].tolist() == rows["birads"].tolist()
    assert np.allclose(truth["truth/cc_area_cm2"].astype(float), known["cc_area_cm2"])


def test_every_column_has_a_meaning_and_no_other():
    fields = _words()["fields"]
    assert list(fields["images"]) == [*COLUMNS, *OPTIONAL] and sorted(fields["truth"]) == sorted(TRUTH_COLUMNS)


def test_what_says_the_same_is_left_alone(cohort):
    path = write_croissant(cohort[0], cohort[0] / "manifest.csv")
    before = path.stat().st_mtime_ns
    assert write_croissant(cohort[0], cohort[0] / "manifest.csv").stat().st_mtime_ns == before


def test_the_default_cohorts_is_part_of_the_repository():
    content = json.loads((PROJECT_ROOT / "croissant.json").read_text())
    files = {file["@id"]: file for file in content["distribution"]}
    assert files["manifest"]["sha256"] == sha256(PROJECT_ROOT / "data_manifest.csv"), "write it: mammorgb phantom"
    assert files["truth-table"]["contentUrl"] == "data/phantom-600-22759/truth.csv"
    assert [field["name"] for field in content["recordSet"][0]["field"]] == list(
        pd.read_csv(PROJECT_ROOT / "data_manifest.csv", nrows=0))
