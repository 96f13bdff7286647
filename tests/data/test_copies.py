"""One picture under two patients never stands on both sides of the split, whatever wraps it."""

import numpy as np
import pandas as pd
import pytest
from dicom_files import SYNTAXES, breast_codes, write_mammogram

from mammorgb_utils.data.archives import build_manifest
from mammorgb_utils.data.cohort import (
    cohort_flow,
    fingerprint,
    of_other_patients,
    record_outcome,
    same_pictures,
    select_images,
)
from mammorgb_utils.data.pairs import preprocess_cohort
from mammorgb_utils.data.phantom import make_breast, render_view
from mammorgb_utils.data.quality import check_images, find_odd, image_facts
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, read_table

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def codes(case, view="CC"):
    return np.rint(render_view(make_breast((4, 5, case)), view) * 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The print of one picture in every transfer syntax of 12 bits, with two sizes and mirrored."""
    folder, found = tmp_path_factory.mktemp("copies"), {}
    for syntax in SYNTAXES:
        stored = breast_codes(8) if syntax == "jpeg_baseline" else breast_codes()
        window = {"WindowCenter": 128, "WindowWidth": 256} if syntax == "jpeg_baseline" else WINDOW
        found[syntax] = image_facts(write_mammogram(folder / f"{syntax}.dcm", stored, syntax=syntax, **window), 512,
                                    "reject")["print"]
    large = np.kron(breast_codes(), np.ones((4, 4))).astype(np.uint16)
    found["reduced"] = image_facts(write_mammogram(folder / "large.dcm", large, syntax="jpeg_2000_lossless", **WINDOW),
                                   512, "reject")["print"]
    found["mirrored"] = image_facts(write_mammogram(folder / "mirrored.dcm", breast_codes()[:, ::-1].copy(), **WINDOW),
                                    512, "reject")["print"]
    return found


def test_a_picture_is_known_again_in_every_wrapping(printed):
    groups = same_pictures(pd.Series(printed))
    assert groups.nunique() == 1, groups[groups != groups["explicit"]]


def test_other_breasts_are_other_pictures():
    prints = pd.Series([fingerprint(render_view(make_breast((4, 5, case)), view))
                        for case in range(30) for view in ("CC", "MLO")])
    assert same_pictures(prints).nunique() == len(prints)
    assert same_pictures(pd.Series(["", ""])).empty


def test_only_another_patients_picture_is_a_copy():
    a, b = (fingerprint(render_view(make_breast((4, 5, case)), "CC")) for case in (0, 1))
    images = pd.DataFrame({"patient": ["p", "p", "q", "q", "r"]})
    found = of_other_patients(images, pd.Series([a, a, b, a, ""]))
    assert found.index.tolist() == [3] and found["first"].tolist() == [0]


def cohort(prints, splits):
    images = pd.DataFrame([{"pair": f"{patient}{exam}", "patient": patient, "laterality": "L", "split": split,
                            "birads": 2, "implant": False, "source": "test", "view": view}
                           for patient, exam, split in splits for view in ("CC", "MLO")])
    facts = {row: {"code": "", "print": prints[row]} for row in range(len(images))}
    return record_outcome(select_images(images, Protocol()), facts, Protocol())


def numbered(n):
    return [fingerprint(render_view(make_breast((4, 5, case)), "CC")) for case in range(n)]


def test_across_the_split_all_of_the_second_patient_goes():
    prints = numbered(8)
    prints[2] = prints[0]
    images = cohort(prints, [("a", 1, "train"), ("b", 1, "heldout"), ("b", 2, "heldout"), ("c", 1, "heldout")])
    assert images["excluded"].tolist() == [""] * 2 + ["picture of another patient, too"] * 4 + [""] * 2
    flow = cohort_flow(images).set_index("reason")["images_excluded"]
    assert flow.to_dict() == {"": 0, "picture of another patient, too": 4}


def test_within_a_split_the_copy_alone_goes():
    prints = numbered(6)
    prints[2] = prints[0]
    images = cohort(prints, [("a", 1, "train"), ("b", 1, "train"), ("b", 2, "train")])
    assert images["excluded"].tolist() == ["", "", "picture of another patient, too", "missing view", "", ""]


def archive(folder):
    """Patients 1 and 2 show the same, in other files; patients 3 to 6 are their own."""
    for number in range(1, 7):
        for view in ("CC", "MLO"):
            write_mammogram(folder / f"{number}{view}.dcm", codes(max(number, 2), view), ViewPosition=view,
                            syntax="jpeg_lossless_sv1" if number == 1 else "explicit", PatientID=str(number),
                            StudyInstanceUID=f"1.2.{number}", **WINDOW)
    build_manifest("folder", folder, folder / "manifest.csv", seed=1, progress=False)
    return folder / "manifest.csv"


def test_a_study_and_the_check_tell_of_copies(tmp_path):
    manifest = archive(tmp_path)
    table = pd.read_csv(manifest, dtype=str)
    run = Run(tmp_path / "run", Protocol(unknown_birads="include"), manifest)
    index = preprocess_cohort(run, progress=False)
    images = read_table(run.images)
    copies = images["excluded"] == "picture of another patient, too"
    assert copies.sum() == 2 and len(index) == 5 and "print" not in images
    found = check_images(manifest, Protocol(), progress=False)
    assert (found["copies"] != "").sum() == 2 and found.loc[copies.to_numpy(), "copies"].str.contains("in row").all()
    odd = find_odd(found)
    assert (odd["reason"] == "The same picture under another patient").sum() == 2 and len(table) == 12
