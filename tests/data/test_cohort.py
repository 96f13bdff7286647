"""Who is in the study, and what becomes of an image: each excluded once, conflicts listed and never acted upon."""

import pandas as pd

from mammorgb_utils.data.cohort import cohort_flow, disagreements, pair_rows, record_outcome, select_images
from mammorgb_utils.protocol import Protocol

READ = {"code": "", "detail": "", "header_laterality": "L", "chest_wall": "left",
        "chest_wall_by_tags": "left", "voi_choices": 2, "bits": 12, "scanner": "maker, model"}


def breasts(n: int) -> pd.DataFrame:
    rows = [{"pair": f"p{i}", "patient": f"p{i}", "laterality": "L", "split": "train", "birads": 2, "source": "test",
             "view": view, "excluded": ""} for i in range(n) for view in ("CC", "MLO")]
    return pd.DataFrame(rows)


def outcome(n: int, changes: dict[int, dict]) -> pd.DataFrame:
    images = breasts(n)
    facts = {row: READ | {"header_view": images["view"][row]} | changes.get(row, {}) for row in range(2 * n)}
    return record_outcome(images, facts, Protocol())


def test_selection_gives_each_image_one_reason():
    frame = pd.DataFrame({"birads": pd.array([2, 3, None, 2, 3], dtype="Int64"),
                          "implant": pd.array([False, False, False, True, True], dtype="boolean")})
    assert select_images(frame, Protocol())["excluded"].tolist() == [
        "", "other BI-RADS grade", "BI-RADS unknown", "implant", "other BI-RADS grade"]
    kept = select_images(frame, Protocol(unknown_birads="include", accepted_birads=(2, 3)))
    assert kept["excluded"].tolist() == ["", "", "", "implant", "implant"]


def test_a_rejection_takes_its_breast_out_and_says_why():
    images = outcome(3, {0: {"code": "decoder_crash", "detail": "it died"}, 3: {"code": "implant", "detail": "a tag"},
                         4: {"code": "implant", "detail": "a tag"}})
    assert images["excluded"].tolist() == ["decoder crash", "missing view", "missing view", "implant", "implant",
                                           "missing view"]
    assert images["detail"].tolist()[:4] == ["it died", "", "", "a tag"]
    flow = cohort_flow(images).set_index("reason")["images_excluded"]
    assert flow.to_dict() == {"": 0, "implant": 2, "decoder crash": 1, "missing view": 3}


def test_pixels_and_tags_that_disagree_are_listed_where_both_are_known():
    images = outcome(2, {0: {"chest_wall": "right", "detail": "two windows"}, 1: {"chest_wall_by_tags": ""},
                         3: {"chest_wall": "right", "header_laterality": "R"}})
    assert images["detail"].tolist() == [
        "two windows; chest wall on the right by its pixels, on the left by its tags", "", "",
        "header says laterality R; chest wall on the right by its pixels, on the left by its tags"]
    assert (images["excluded"] == "").all()
    rejected = pd.DataFrame([dict.fromkeys(("header_laterality", "header_view", "chest_wall", "chest_wall_by_tags"))
                             | {"laterality": "L", "view": "CC"}])
    assert disagreements(rejected).tolist() == [""]


def test_counts_stay_whole_numbers_beside_images_that_were_not_read():
    images = outcome(1, {0: {"voi_choices": None, "bits": None, "code": "unreadable"}})
    assert images["bits"].dtype == "Int64" and images["voi_choices"].tolist()[1] == 2


def test_pairs_point_at_their_rows():
    index, rows = pair_rows(outcome(12, {4: {"code": "timeout"}}))
    assert index["pair"].tolist() == sorted(f"p{i}" for i in range(12) if i != 2)
    assert rows.tolist()[1] == [2, 3] and index["pair"][1] == "p1" and rows.shape == (11, 2)


def test_a_split_is_one_run_of_rows():
    images = outcome(12, {})
    images["split"] = images["pair"].map(lambda pair: ("train", "heldout")[int(pair[1:]) % 2])
    index, rows = pair_rows(images)
    assert index["split"].tolist() == ["heldout"] * 6 + ["train"] * 6
    assert images["pair"].to_numpy()[rows[:, 0]].tolist() == index["pair"].tolist()


def test_a_pair_keeps_its_density_where_the_manifest_tells_it():
    images = outcome(2, {})
    assert "density" not in pair_rows(images)[0]
    assert pair_rows(images.assign(density=["C", "C", "", ""]))[0]["density"].tolist() == ["C", ""]
