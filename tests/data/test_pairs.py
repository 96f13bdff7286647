"""From a manifest to pairs: exclusions with reasons, conflicts listed, and work that survives a kill."""

import json

import numpy as np
import pandas as pd
import pytest
from kills import killed_at_third_batch

from mammorgb_utils import runs
from mammorgb_utils.data import pairs as pairs_module
from mammorgb_utils.data.batch import resumable
from mammorgb_utils.data.batch.reference import reference_from_manifest
from mammorgb_utils.data.batch.resumable import Record
from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.cohort import CohortError, cohort_flow, disagreements, select_images
from mammorgb_utils.data.dicom import RejectedImage, one_file
from mammorgb_utils.data.manifest import ManifestError, load_manifest
from mammorgb_utils.data.pairs import example_steps, load_pairs, preprocess_cohort, real_pairs
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, read_table


@pytest.fixture
def study(cohort, tmp_path, monkeypatch) -> Run:
    monkeypatch.setattr(runs, "PROJECT_ROOT", tmp_path)
    return Run.open("r", "smoke", manifest=str(cohort[0] / "manifest.csv"))


def test_pairs_index_and_flow_agree(study, cohort):
    index = preprocess_cohort(study, progress=False)
    pairs, same = load_pairs(study, "all")
    # Eight pairs, and the breast of which one view is there twice.
    assert len(index) == len(pairs) == 9 and same["pair"].tolist() == index["pair"].tolist()
    assert pairs.dtype == np.float32 and 0 <= pairs.min() and pairs.max() <= 1
    assert isinstance(pairs, np.memmap) and not pairs.flags.writeable
    flow = cohort_flow(pd.read_csv(study.images))
    assert flow["images_left"].iloc[0] == len(cohort[1]) and flow["images_left"].iloc[-1] == 18
    assert flow["pairs_left"].iloc[-1] == 9
    reasons = {"other BI-RADS grade", "implant", "unreadable", "repeated view", "missing view"}
    assert set(flow["reason"]) - {""} == reasons
    assert flow["images_excluded"].sum() == len(cohort[1]) - 18
    heldout, held_index = real_pairs(study)
    assert len(heldout) == (index["split"] == "heldout").sum() and set(held_index["split"]) == {"heldout"}
    assert not [p for p in study.pairs.parent.iterdir() if "part" in p.name]
    assert not (study.root / "DO_NOT_SHARE.txt").exists()


def test_no_path_or_checksum_reaches_the_record_of_images(study, cohort):
    preprocess_cohort(study, progress=False)
    text = "".join(p.read_text() for p in study.pairs.parent.glob("*.csv"))
    assert ".dcm" not in text and not any(digest in text for digest in cohort[1]["sha256"])


def test_a_killed_call_continues_and_ends_with_the_same_pairs(study, monkeypatch, tmp_path):
    whole = Run(tmp_path / "runs" / "whole", study.protocol, study.manifest)
    preprocess_cohort(whole, progress=False)
    with killed_at_third_batch(), pytest.raises(KeyboardInterrupt):
        preprocess_cohort(study, progress=False)
    (log,) = study.pairs.parent.glob("views-*.part.jsonl")
    assert len(log.read_text().splitlines()) == 8
    log.write_text(log.read_text() + '{"row": 99, "co')  # the line that a kill cut short
    known = Record(log, (study.protocol.image_size,) * 2)
    known.add({next(iter(known.facts())): {"code": "timeout"}})  # which a busy machine may have caused
    left = []

    def counted(work, files):
        files = list(files)
        left.append(len(files))
        return map_isolated(work, files)

    monkeypatch.setattr(resumable, "map_isolated", counted)
    preprocess_cohort(study, progress=False)
    todo = select_images(load_manifest(study.manifest), study.protocol)["excluded"].eq("").sum()
    assert left == [todo - 7], "nothing failed, so that nothing is tried once more"
    assert study.pairs.read_bytes() == whole.pairs.read_bytes()
    assert study.pairs_index.read_text() == whole.pairs_index.read_text()


def test_what_fails_is_tried_once_more_in_the_same_call(study, monkeypatch):
    tried = []

    def busy(work, files):
        files = list(files)
        tried.append(len(files))
        for place, (file, result) in enumerate(map_isolated(work, files)):
            yield file, RejectedImage(file, "timeout", "slow") if place < 2 and len(tried) == 1 else result

    monkeypatch.setattr(resumable, "map_isolated", busy)
    preprocess_cohort(study, progress=False)
    assert tried[1:] == [2] and "timeout" not in set(read_table(study.images)["excluded"])


def test_another_reference_is_refused_not_mixed_in(study, tmp_path):
    preprocess_cohort(study, progress=False)
    before = study.pairs.read_bytes()
    record = json.loads(study.pairs_record.read_text())
    study.pairs_record.write_text(json.dumps(record | {"reference_sha256": "0" * 64}))
    with pytest.raises(CohortError, match="reference_cdf: its file has changed"):
        preprocess_cohort(study, progress=False)
    assert study.pairs.read_bytes() == before


def test_pairs_of_patients_are_marked(study, monkeypatch):
    monkeypatch.setattr(pairs_module, "load_manifest", lambda path: load_manifest(path).assign(source="hospital"))
    preprocess_cohort(study, progress=False)
    assert "patient data" in (study.root / "DO_NOT_SHARE.txt").read_text()


def test_a_changed_file_stops_the_study_before_anything_is_written(study, cohort, tmp_path):
    manifest = tmp_path / "manifest.csv"
    frame = pd.read_csv(cohort[0] / "manifest.csv", dtype=str, keep_default_na=False)
    root = cohort[0].relative_to("/")
    frame["path"] = [str(root / path) for path in frame["path"]]
    frame.loc[frame["birads"].eq("2").idxmax(), "sha256"] = "f" * 64
    frame.to_csv(manifest, index=False)
    (tmp_path / root.parts[0]).symlink_to("/" + root.parts[0])
    broken = Run(tmp_path / "runs" / "broken", study.protocol, manifest)
    with pytest.raises(ManifestError, match="1 files have changed"):
        preprocess_cohort(broken, progress=False)
    assert [p.name for p in broken.pairs.parent.iterdir()] == [".lock"]


def test_no_pairs_says_why(study):
    strict = Run(study.root / "strict", study.protocol.model_copy(update={"accepted_birads": (6,)}), study.manifest)
    with pytest.raises(CohortError, match="no usable pair.*'train'.*other BI-RADS grade: .*accepted_birads"):
        preprocess_cohort(strict, progress=False)


def test_header_and_manifest_that_disagree_are_listed(study, cohort, tmp_path):
    preprocess_cohort(study, progress=False)
    images = pd.read_csv(study.images, keep_default_na=False)
    used = images[images["excluded"] == ""]
    assert not used["detail"].str.contains("header says").any()
    images["header_view"] = images["view"].map({"CC": "MLO", "MLO": "CC"})
    assert disagreements(images).str.contains("header says view").all()


def test_each_split_is_its_part_of_all_pairs(study):
    index = preprocess_cohort(study, progress=False)
    every, _ = load_pairs(study, "all")
    for split in ("train", "heldout"):
        pairs, part = load_pairs(study, split)
        assert np.array_equal(pairs, every[(index["split"] == split).to_numpy()]) and set(part["split"]) == {split}
        assert isinstance(pairs, np.memmap)
    index.assign(split="train").to_csv(study.pairs_index, index=False)
    assert load_pairs(study, "heldout")[0].shape == (0, *every.shape[1:])


def test_what_was_read_stands_in_the_record(study):
    preprocess_cohort(study, progress=False)
    images = pd.read_csv(study.images, keep_default_na=False)
    used = images[images["excluded"] == ""]
    assert set(used["chest_wall"]) == {"left", "right"} and set(used["bits"]) == {"12"}
    assert (used["transfer_syntax"] != "").all() and (used["voi_choices"] != "").all()
    unmirrored = Run(study.root / "unmirrored", study.protocol.model_copy(update={"mirror": False}), study.manifest)
    preprocess_cohort(unmirrored, progress=False)
    again = pd.read_csv(unmirrored.images, keep_default_na=False)
    assert again["chest_wall"].tolist() == images["chest_wall"].tolist()


def test_example_steps_show_both_views_in_order(study):
    preprocess_cohort(study, progress=False)
    (steps,) = example_steps(study, 1)
    assert list(steps) == ["CC", "MLO"]
    assert list(steps["CC"]) == ["decoded", "normalised", "chest wall left", "matched", "resized"]
    assert np.array_equal(steps["CC"]["resized"], load_pairs(study, "all")[0][0, 0])


def test_a_reference_is_averaged_from_the_training_split(cohort):
    reference = reference_from_manifest(cohort[0] / "manifest.csv", Protocol(), "mine", progress=False)
    chosen = select_images(cohort[1], Protocol())
    train = chosen[(chosen["excluded"] == "") & (chosen["split"] == "train")]
    assert 0 < reference.n_images <= len(train) and (np.diff(reference.foreground) >= 0).all()
    assert json.loads(json.dumps(reference.foreground.tolist()))[0] >= 0


def test_an_image_that_cant_be_worked_on_is_one_rejection(tmp_path):
    with pytest.raises(RejectedImage, match=r"unreadable: the image can't be worked on \(ValueError\)"):
        with one_file(tmp_path / "SECRET.dcm"):
            raise ValueError("zero-size array")


def test_patients_are_marked_before_the_first_view_and_checked_files_arent_hashed_again(study, monkeypatch):
    monkeypatch.setattr(pairs_module, "load_manifest", lambda path: load_manifest(path).assign(source="hospital"))
    hashed = []
    check = pairs_module.verify_checksums
    monkeypatch.setattr(pairs_module, "verify_checksums", lambda rows, *given, **options: (
        hashed.append(len(rows)), check(rows, *given, **options)))
    monkeypatch.setattr(pairs_module, "pair_rows", lambda images: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        preprocess_cohort(study, progress=False)
    assert (study.root / "DO_NOT_SHARE.txt").is_file()
    with pytest.raises(ZeroDivisionError):
        preprocess_cohort(study, progress=False)
    assert len(hashed) == 1 and hashed[0] > 0
