"""Breasts of which one view is there: what is read, what isn't turned or matched, and no drawn view as an image."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammorgb_utils.data import lone_views as module
from mammorgb_utils.data.archives import build, build_manifest
from mammorgb_utils.data.archives.base import AdapterError, Listing
from mammorgb_utils.data.base_views import phantom_view
from mammorgb_utils.data.lone_views import LoneViewError, lone_views
from mammorgb_utils.data.manifest import ManifestError, load_manifest, write_manifest
from mammorgb_utils.data.pair_folder import PairFolderError, write_png
from mammorgb_utils.data.phantom import make_breast
from mammorgb_utils.data.preprocess import load_reference_cdf
from mammorgb_utils.data.synthetic import REASON, is_synthetic, is_synthetic_name, png_text, synthetic_name
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol.load("smoke")


@pytest.fixture(scope="module")
def prepared():
    """CC and MLO of a phantom as a study's model sees them, and its CC without matching."""
    breast, reference = make_breast((3, 1, 2)), load_reference_cdf(PROTOCOL)
    unmatched = phantom_view(breast, "CC", reference, PROTOCOL.changed(match_scope="none"))
    return {view: phantom_view(breast, view, reference, PROTOCOL) for view in ("CC", "MLO")} | {"unmatched": unmatched}


def test_a_manifest_s_lone_views_are_preprocessed_as_the_study_s(cohort):
    folder, rows = cohort
    found = lone_views(folder / "manifest.csv", PROTOCOL, progress=False)
    truth = pd.read_csv(folder / "truth.csv").set_index("role")
    assert found.names == [truth.loc["missing_view", "pair"]] and found.is_phantom
    assert found.views == rows.loc[rows["pair"] == found.names[0], "view"].tolist()
    breast = make_breast([int(part) for part in truth.loc["missing_view", "seed_key"].split()])
    expected = phantom_view(breast, found.views[0], load_reference_cdf(PROTOCOL), PROTOCOL)
    assert np.abs(found.pictures[0] - expected).mean() < 0.02, "as its file was written with 12 bits and a label"
    assert found.left_out["view that has its partner"] == 2 * 8 + 2 + 2 and found.left_out["implant"] == 2


def test_a_manifest_of_one_view_alone_serves(cohort):
    folder, rows = cohort
    chosen = rows[(rows["view"] == "CC") & (rows["birads"] == 2)].head(2)
    write_manifest(chosen, folder / "cc.csv", both_views=False)
    found = lone_views(folder / "cc.csv", PROTOCOL, progress=False)
    assert found.views == ["CC", "CC"] and found.pictures.shape == (2, 64, 64) and found.pictures.max() <= 1
    with pytest.raises(ManifestError, match="no row is MLO"):
        load_manifest(folder / "cc.csv")
    write_manifest(chosen.assign(pair=["a/b", "c"]), folder / "odd.csv", both_views=False)
    with pytest.raises(LoneViewError, match=r"odd.csv: pair 'a/b' names no file; use letters"):
        lone_views(folder / "odd.csv", PROTOCOL, progress=False)


def test_a_folder_s_views_are_taken_as_they_are(prepared, tmp_path):
    write_png(tmp_path / "W1_CC.png", prepared["CC"])
    write_png(tmp_path / "W2_MLO.png", prepared["MLO"])
    for view in ("CC", "MLO"):
        write_png(tmp_path / f"W3_{view}.png", prepared[view])
    found = lone_views(tmp_path, PROTOCOL)
    assert (found.names, found.views, found.is_phantom) == (["W1", "W2"], ["CC", "MLO"], False)
    np.testing.assert_allclose(found.pictures, [prepared["CC"], prepared["MLO"]], atol=1e-5)
    assert found.left_out == {"view that has its partner": 2}


@pytest.mark.parametrize(("view", "change", "message"), [
    ("CC", lambda p: p["CC"][:, ::-1], "its chest wall is on the right, the study's is on the left"),
    ("MLO", lambda p: p["MLO"][::-1], "its muscle lies below: it is upside down"),
    ("CC", lambda p: p["unmatched"], "its grey levels aren't matched to the study's reference"),
    ("CC", lambda p: 1.0 - p["CC"], "no air lies around a breast"),
    ("CC", lambda p: 0.0 * p["CC"], "no breast stands out from the background"),
])
def test_a_view_that_is_not_the_study_s_is_refused_in_one_message(prepared, tmp_path, view, change, message):
    write_png(tmp_path / "good_CC.png", prepared["CC"])
    write_png(tmp_path / f"odd_{view}.png", change(prepared))
    with pytest.raises(LoneViewError) as refused:
        lone_views(tmp_path, PROTOCOL)
    assert f"1 of 2 views can't be completed, such as odd_{view}.png: {message}" in str(refused.value)
    assert "Give views as this study's own preprocessing makes them" in str(refused.value)


def test_a_study_that_mirrors_nothing_takes_either_side(prepared):
    turned = prepared["CC"][:, ::-1]
    reference = load_reference_cdf(PROTOCOL)
    assert module._fault(turned, "CC", PROTOCOL, reference) != ""
    assert module._fault(turned, "CC", PROTOCOL.changed(mirror=False), reference) == ""


def test_sizes_differ_or_are_brought_to_the_study_s(prepared, tmp_path):
    write_png(tmp_path / "W1_CC.png", np.kron(prepared["CC"], np.ones((2, 2))))
    with pytest.raises(PairFolderError, match=r"the views are 128 × 128, the study's 64 × 64 pixels; .*--resize"):
        lone_views(tmp_path, PROTOCOL)
    found = lone_views(tmp_path, PROTOCOL, resize=True)
    np.testing.assert_allclose(found.pictures[0], prepared["CC"], atol=1e-4)


def test_where_nothing_lacks_a_view_the_counts_say_so(prepared, tmp_path):
    for view in ("CC", "MLO"):
        write_png(tmp_path / f"W1_{view}.png", prepared[view])
    with pytest.raises(LoneViewError, match="no breast of which one view alone can be used; 2 × view that has its"):
        lone_views(tmp_path, PROTOCOL)
    with pytest.raises(ManifestError, match="no such manifest"):
        lone_views(tmp_path / "absent.csv", PROTOCOL)


@pytest.fixture
def drawn(prepared, tmp_path):
    """A drawn view, under its own name and renamed."""
    for name in (synthetic_name("P1", "MLO", 0), "harmless.dcm"):
        write_png(tmp_path / name, prepared["MLO"], png_text({"Draw": 0}))
    return tmp_path


def test_a_drawn_view_is_known_by_its_name_and_by_its_content(drawn):
    assert is_synthetic(drawn / "P1_MLO_synthetic-00.png") and is_synthetic(drawn / "harmless.dcm")
    assert is_synthetic_name("a/P1_MLO_synthetic-00.dcm") and not is_synthetic_name("P1_MLO.png")
    with Image.open(drawn / "harmless.dcm") as image:
        assert image.info["Synthetic"].startswith("drawn by a diffusion model") and np.asarray(image).dtype == np.uint16
    write_png(drawn / "plain.png", np.zeros((8, 8)))
    (drawn / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    assert not is_synthetic(drawn / "plain.png") and not is_synthetic(drawn / "cut.png")


def test_a_drawn_view_is_no_given_view(drawn):
    (drawn / "P1_MLO_synthetic-00.png").rename(drawn / "P1_MLO.png")
    with pytest.raises(LoneViewError, match=f"P1_MLO.png: {REASON}"):
        lone_views(drawn, PROTOCOL)


def test_the_builder_leaves_drawn_views_out_and_says_why(drawn, cohort):
    with pytest.raises(AdapterError, match=f"no usable CC or MLO image found .*2 × {REASON}"):
        build_manifest("folder", drawn, drawn / "manifest.csv", progress=False)
    folder, rows = cohort
    patient = rows.loc[rows["birads"] == 2, "patient"].iloc[0]
    shutil.copytree(folder / patient, drawn / "real")
    summary = build_manifest("folder", drawn, drawn / "manifest.csv", progress=False)
    assert set(summary.manifest["path"].str.split("/").str[0]) == {"real"}
    assert f"not taken: 2 × {REASON}" in summary.lines()


def test_an_index_that_lists_a_drawn_view_doesnt_bring_it_in(drawn, cohort, monkeypatch):
    folder, rows = cohort
    shutil.copytree(folder / rows["patient"].iloc[0], drawn / "real")
    real = sorted(path.relative_to(drawn) for path in (drawn / "real").iterdir())[0]
    listing = Listing()
    for view, path in (("CC", real), ("MLO", Path("harmless.dcm"))):
        listing.add(patient="1", exam="1", laterality="L", view=view, path=path)
    monkeypatch.setitem(build.ADAPTERS, "vindr", (lambda root: listing, ""))
    summary = build_manifest("vindr", drawn, drawn / "manifest.csv", progress=False)
    assert summary.manifest["view"].tolist() == ["CC"] and summary.skipped == {REASON: 1}
    assert "No breast has both views" in summary.lines()[-1] and "mammorgb complete" in summary.lines()[-1]


def test_a_manifest_by_hand_that_names_a_drawn_view_is_refused(cohort, tmp_path):
    rows = cohort[1].head(2)
    for ending in ("png", "dcm"):
        named = rows.assign(path=["a.dcm", f"b/P1_MLO_synthetic-03.{ending}"])
        with pytest.raises(ManifestError, match="row 3, column path: a view that a model drew, by its name; remove"):
            write_manifest(named, tmp_path / "m.csv")
