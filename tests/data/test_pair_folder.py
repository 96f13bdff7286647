"""Pairs from anywhere: what is read, and what a user reads who handed in something else."""

import numpy as np
import pytest
from PIL import Image

from mammorgb_utils.data.pair_folder import (
    PairFolderError,
    export_pairs,
    load_pair_folder,
    load_patients,
    pairs_digest,
    unread_files,
)
from mammorgb_utils.data.synthetic import is_synthetic

SIZE = 16


@pytest.fixture
def pairs():
    """Bright on the left, black on the right."""
    values = np.random.default_rng(0).random((3, 2, SIZE, SIZE)).astype(np.float32) * 0.5
    values[..., :8] += 0.4
    values[..., 12:] = 0.0
    return values


def test_an_export_comes_back(pairs, tmp_path):
    export_pairs(pairs, tmp_path, prefix="sum")
    (tmp_path / "notes.txt").write_text("ignored")
    found = load_pair_folder(tmp_path, size=SIZE)
    assert found.dtype == np.float32 and np.abs(found - pairs).max() < 1e-4


def test_eight_bits_and_arrays_of_any_kind_are_read(pairs, tmp_path):
    for number, pair in enumerate(pairs):
        for name, view in zip(("cc", "mlo"), pair, strict=True):
            Image.fromarray((view * 255).round().astype(np.uint8)).save(tmp_path / f"p{number}_{name}.PNG")
    assert np.abs(load_pair_folder(tmp_path, size=SIZE) - pairs).max() < 2.1e-3
    for scaled in (pairs.astype(np.float64), (pairs * 65535).round().astype(np.uint16)):
        np.save(tmp_path / "p.npy", scaled)
        assert np.abs(load_pair_folder(tmp_path / "p.npy", size=SIZE) - pairs).max() < 1e-4


def test_order_and_views_are_kept(pairs, tmp_path):
    export_pairs(pairs[[2]], tmp_path, prefix="b")
    export_pairs(pairs[[1]], tmp_path, prefix="a")
    found = load_pair_folder(tmp_path, size=SIZE)
    assert np.allclose(found[0], pairs[1], atol=1e-4) and np.allclose(found[1], pairs[2], atol=1e-4)


def test_other_sizes_are_refused_or_resized(pairs, tmp_path):
    np.save(tmp_path / "p.npy", np.repeat(np.repeat(pairs, 2, axis=2), 2, axis=3))
    with pytest.raises(PairFolderError, match=r"the views are 32 × 32, the study's 16 × 16 pixels; .*--resize"):
        load_pair_folder(tmp_path / "p.npy", size=SIZE)
    assert np.abs(load_pair_folder(tmp_path / "p.npy", size=SIZE, resize=True) - pairs).max() < 1e-6
    export_pairs(pairs, tmp_path, prefix="a")
    export_pairs(pairs[:, :, :, :12], tmp_path, prefix="b")
    with pytest.raises(PairFolderError, match=r"the views have 2 sizes \(16 × 12, 16 × 16\)"):
        load_pair_folder(tmp_path, size=SIZE)
    assert load_pair_folder(tmp_path, size=SIZE, resize=True).shape == (6, 2, SIZE, SIZE)


def test_a_missing_partner_is_named(pairs, tmp_path):
    export_pairs(pairs, tmp_path, prefix="a")
    (tmp_path / "a_00001_MLO.png").unlink()
    with pytest.raises(PairFolderError, match="1 views lack their partner, such as that of a_00001_CC.png"):
        load_pair_folder(tmp_path, size=SIZE)


@pytest.mark.parametrize(("change", "message"), [
    (lambda p: p[..., ::-1], "the chest wall is on the right in 6 of 6 views; flip them"),
    (lambda p: 1.0 - p, "air is white in 6 of 6 views; invert them"),
    (lambda p: p * 255, r"pair 0: values from 0 to .*; scale them to \[0, 1\]"),
    (lambda p: np.where(p > 0.8, np.nan, p), "pair 0: values that are no numbers"),
    (lambda p: p[:, :1], r"shape \(3, 1, 16, 16\); it must be \(N, 2, H, W\)"),
    (lambda p: p[:0], "holds no pairs"),
    (lambda p: p > 0.5, "values of type bool"),
])
def test_wrong_arrays_are_refused(pairs, tmp_path, change, message):
    np.save(tmp_path / "p.npy", change(pairs))
    with pytest.raises(PairFolderError, match=message):
        load_pair_folder(tmp_path / "p.npy", size=SIZE)


def test_wrong_files_are_refused(pairs, tmp_path, monkeypatch):
    with pytest.raises(PairFolderError, match="neither a folder of pairs nor a .npy"):
        load_pair_folder(tmp_path / "absent", size=SIZE)
    with pytest.raises(PairFolderError, match="no files named"):
        load_pair_folder(tmp_path, size=SIZE)
    (tmp_path / "x.npy").write_text("no array")
    with pytest.raises(PairFolderError, match="x.npy: not a plain NumPy array"):
        load_pair_folder(tmp_path / "x.npy", size=SIZE)
    export_pairs(pairs[:1], tmp_path, prefix="a")
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "a_00000_CC.png")
    with pytest.raises(PairFolderError, match="a_00000_CC.png: a RGB image; save each view as grey"):
        load_pair_folder(tmp_path, size=SIZE)
    Image.new("L", (SIZE, SIZE)).save(tmp_path / "a_00000_CC.png")
    with monkeypatch.context() as patched, pytest.raises(PairFolderError, match="a_00000_CC.png: not a readable PNG"):
        patched.setattr(Image, "MAX_IMAGE_PIXELS", SIZE)  # a picture that claims far too many
        load_pair_folder(tmp_path, size=SIZE)
    with monkeypatch.context() as patched:
        patched.setattr(Image, "MAX_IMAGE_PIXELS", SIZE)
        assert not is_synthetic(tmp_path / "a_00000_CC.png")
    deep = Image.fromarray(np.full((SIZE, SIZE), 70_000, np.int32))
    deep.save(tmp_path / "a_00000_CC.png", format="TIFF")  # would wrap round in 16 bits
    with pytest.raises(PairFolderError, match="a_00000_CC.png: not a readable PNG"):
        load_pair_folder(tmp_path, size=SIZE)
    (tmp_path / "a_00000_CC.png").write_bytes(b"no picture")
    with pytest.raises(PairFolderError, match="a_00000_CC.png: not a readable PNG"):
        load_pair_folder(tmp_path, size=SIZE)


def test_a_few_odd_views_pass(pairs, tmp_path):
    pairs[0, 0] = 0.0
    pairs[1, 1] = pairs[1, 1, :, ::-1]
    np.save(tmp_path / "p.npy", pairs)
    assert load_pair_folder(tmp_path / "p.npy", size=SIZE).shape == pairs.shape


def upright(n):
    """Pairs with the muscle in the MLO's upper corner at the chest wall."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    cc = np.where(np.hypot(y - 0.5, x) < 0.4, 0.6, 0.0)
    return np.stack([np.stack([cc, np.where(x + y < 0.35, 0.9, cc)])] * n).astype(np.float32)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(("change", "message"), [
    (lambda p: p[..., ::-1], "the chest wall is on the right in {views} views; flip them"),
    (lambda p: 1.0 - p, "air is white in {views} views; invert them"),
    (lambda p: p[:, :, ::-1], "{pairs} MLO views are upside down; flip them"),
    (lambda p: p[:, :, ::-1, ::-1], "the chest wall is on the right in {views} views"),
    (lambda p: p * (2**12 - 1) / 65535, "{views} views use 12 of 16 bits, as detectors do: their white is 0.0562 of")])
def test_a_considerable_part_that_is_not_as_expected_is_refused(tmp_path, share, change, message):
    pairs = upright(20)
    changed = round(share * 20)
    pairs[:changed] = change(pairs[:changed])
    np.save(tmp_path / "p.npy", pairs)
    views, wrong = f"{2 * changed} of 40", f"{changed} of 20"
    with pytest.raises(PairFolderError, match=message.format(views=views, pairs=wrong)):
        load_pair_folder(tmp_path / "p.npy", size=SIZE)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_detector_bits_in_files_of_sixteen_are_refused(tmp_path, bits):
    for number, pair in enumerate(upright(3)):
        for name, view in zip(("CC", "MLO"), pair, strict=True):
            values = np.rint(view * (2**bits - 1)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / f"{number}_{name}.png")
    with pytest.raises(PairFolderError, match=f"6 of 6 views use {bits} of 16 bits"):
        load_pair_folder(tmp_path, size=SIZE)


def test_files_that_are_not_read_are_counted_and_named(pairs, tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("a_CC.jpg", ".DS_Store", "more/b_CC.png"):
        (tmp_path / name).write_text("")
    assert unread_files(tmp_path) == ["a_CC.jpg", "more/b_CC.png"]
    with pytest.raises(PairFolderError, match="no files named .*; 2 others are there, such as a_CC.jpg"):
        load_pair_folder(tmp_path, size=SIZE)
    export_pairs(pairs, tmp_path, prefix="sum")
    assert unread_files(tmp_path) == ["a_CC.jpg", "more/b_CC.png"]


def test_the_digest_is_that_of_the_values(pairs):
    assert pairs_digest(pairs) == pairs_digest(np.asfortranarray(pairs)) == pairs_digest(pairs.astype(np.float64))
    assert len({pairs_digest(pairs), pairs_digest(pairs[:2]), pairs_digest(pairs[:, ::-1]),
                pairs_digest(pairs.reshape(3, 2, 8, 32))}) == 4


def test_patients_are_numbers_not_names(tmp_path):
    file = tmp_path / "index.csv"
    file.write_text("pair,patient\na,01\nb,1\nc,01\n")
    assert load_patients(file, 3).tolist() == [0, 1, 0]
    with pytest.raises(PairFolderError, match="3 rows for 4 pairs"):
        load_patients(file, 4)
    for encoding in ("utf-8-sig", "cp1252"):
        file.write_text("pair,patient\na,Müller\nb,Maier\nc,Müller\n", encoding=encoding)
        assert load_patients(file, 3).tolist() == [0, 1, 0]
    for content in (b"", "pair,patient\na,b\n".encode("utf-16"), b'pair,patient\n"a,b,c\n'):
        file.write_bytes(content)
        with pytest.raises(PairFolderError, match="index.csv: (not a CSV table|needs a column|1 rows|0 rows)"):
            load_patients(file, 3)
    file.write_text("pair,patient\na,\n")
    with pytest.raises(PairFolderError, match="column 'patient' without empty cells"):
        load_patients(file, 1)
