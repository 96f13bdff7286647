"""Damaged files in every transfer syntax: each is read or rejected with a code, and no other error escapes."""

import dicom_files
import pydicom
import pytest
from dicom_files import EIGHT_BITS, breast_codes, write_mammogram
from mutations import KINDS, anatomy, mutated
from pydicom.encaps import encapsulate, generate_frames

from mammorgb_utils.data.batch.workers import FAILURES, map_isolated
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.headers import READ_ERRORS

SYNTAXES = ("explicit", "implicit", "big_endian", "deflated", "rle", "jpeg_baseline", "jpeg_extended",
            "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000_lossless", "jpeg_2000", "htj2k_lossless")
CODES = {"not_dicom", "unreadable", "missing_decoder", "not_mammography", "for_processing", "not_single_frame",
         "not_greyscale", "other_view", "modified_view", "specimen", "implant", *FAILURES}


def look(item):
    """Lowest and highest grey, or the name of an error that should have been a rejection."""
    path, side = item
    try:
        pixels = read_mammogram(path, min_side=side).pixels
        return float(pixels.min()), float(pixels.max())
    except (RejectedImage, MemoryError):
        raise
    except Exception as error:
        return type(error).__name__


def base(folder, syntax):
    stored = breast_codes(8 if syntax in EIGHT_BITS else 12)[::2, ::2].copy()
    return write_mammogram(folder / f"{syntax}.dcm", stored, syntax=syntax)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Twelve damages to each of twelve files, and what became of both kinds of reads."""
    folder, items = tmp_path_factory.mktemp("damaged"), []
    kinds = [(part, kind) for part in KINDS for kind in KINDS[part]]
    for number, syntax in enumerate(SYNTAXES):
        content = base(folder, syntax).read_bytes()
        for step in range(12):
            part, kind = kinds[(number + step) % len(kinds)]
            path = folder / f"{syntax}-{part}-{kind}.dcm"
            path.write_bytes(mutated(content, part, kind, number))
            items.append((path, (None, 64)[(number + step) % 2]))
    return dict(map_isolated(look, items, seconds=30, gigabytes=2, processes=1))


def test_every_damaged_file_is_read_or_rejected(outcomes):
    assert len(outcomes) == 144
    for (path, side), result in outcomes.items():
        assert not isinstance(result, str), f"{path.name} at {side}: {result} escaped"
        if isinstance(result, RejectedImage):
            assert result.code in CODES and len(result.reason.split()) > 3 and path.stem not in result.reason
        else:
            assert 0 <= result[0] <= result[1] <= 1, f"{path.name} at {side}: {result}"


def test_damage_costs_no_worker(outcomes):
    failed = [(item[0].name, result.code) for item, result in outcomes.items()
              if isinstance(result, RejectedImage) and result.code in FAILURES]
    assert not failed


def test_some_damage_is_survived_and_some_is_not(outcomes):
    rejected = sum(isinstance(result, RejectedImage) for result in outcomes.values())
    assert 30 < rejected < 130


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_damage_changes_the_part_it_is_meant_for(tmp_path, syntax):
    whole = base(tmp_path, syntax)
    content, body = whole.read_bytes(), anatomy(whole.read_bytes())
    assert read_mammogram(whole).pixels.shape == (160, 128)
    split = len(body.meta) + (0 if body.deflated else body.pixels)
    for kind in KINDS["codestream"]:
        damaged = mutated(content, "codestream", kind, 1)
        assert damaged == mutated(content, "codestream", kind, 1) and damaged[:split] == content[:split]
    for kind in KINDS["header"]:
        damaged = mutated(content, "header", kind, 1)
        assert damaged != content
        assert body.deflated or kind == "truncated" or damaged.endswith(content[split:])


@pytest.mark.parametrize("error", READ_ERRORS)
def test_what_pydicom_and_its_decoders_raise_becomes_a_rejection(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error("")

    path = base(tmp_path, "explicit")
    monkeypatch.setattr("mammorgb_utils.data.dicom.stored_codes", fail)
    with pytest.raises(RejectedImage, match="unreadable"):
        read_mammogram(path)


@pytest.mark.parametrize("window", [{"WindowCenter": float("nan"), "WindowWidth": 4096},
                                    {"RescaleSlope": float("inf"), "RescaleIntercept": 0}])
def test_a_window_that_is_no_number_is_not_shown(tmp_path, window):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), **window)
    with pytest.raises(RejectedImage, match="unreadable"):
        read_mammogram(path)


def test_averages_stay_within_the_intensity_scale(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="jpeg_2000_lossless", WindowCenter=-9999,
                           WindowWidth=3)
    assert read_mammogram(path, min_side=128).pixels.max() == 1.0


@pytest.mark.parametrize("syntax", [name for name in SYNTAXES if dicom_files.SYNTAXES[name].is_encapsulated])
def test_a_frame_that_is_cut_off_is_not_shown_as_far_as_it_goes(tmp_path, syntax):
    dataset = pydicom.dcmread(base(tmp_path, syntax))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for share in (0.6, 0.98):
        dataset.PixelData = encapsulate([frame[:int(share * len(frame))]])
        dataset.save_as(tmp_path / "cut.dcm")
        for side in (None, 64):
            with pytest.raises(RejectedImage, match="unreadable"):
                read_mammogram(tmp_path / "cut.dcm", min_side=side)
