"""LUT descriptors are claims: entries, bits and first value that contradict the data never decide the picture."""

import numpy as np
import pytest
from dicom_files import write_mammogram
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mammorgb_utils.data.dicom import read_mammogram
from mammorgb_utils.data.lut import read_lut

RAMP = (np.arange(64 * 64).reshape(64, 64) % 4096).astype(np.uint16)
ROOT = np.rint(np.sqrt(np.arange(4096) / 4095) * 4095).astype(int)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def sequence(descriptor, data, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", vr, data if vr == "OW" else [int(value) for value in data])
    return Sequence([item])


def words(values):
    return np.asarray(values).astype("<u2").tobytes()


BROKEN = {"entries": ([4096, 0, 12], ROOT[:1024]), "too few claimed": ([256, 0, 12], ROOT),
          "bits, too few": ([4096, 0, 8], ROOT), "bits, too many": ([4096, 0, 16], ROOT),
          "bits, none": ([4096, 0, 0], ROOT), "first value, above": ([4096, 2048, 12], ROOT),
          "first value, of a sign": ([4096, 63488, 12], ROOT)}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_voi_lut_beside_a_sound_window_uses_the_window_and_records_it(tmp_path, kind):
    plain = read_mammogram(write_mammogram(tmp_path / "a.dcm", RAMP, **WINDOW))
    mammogram = read_mammogram(write_mammogram(tmp_path / "b.dcm", RAMP, VOILUTSequence=sequence(*BROKEN[kind]),
                                               **WINDOW))
    assert mammogram.voi == "window" and np.array_equal(mammogram.pixels, plain.pixels)
    assert mammogram.voi_choices == 2
    (told,) = mammogram.conflicts
    assert told.startswith("its VOI LUT contradicts its descriptor") and told.endswith("its window is used")


@pytest.mark.parametrize("kind", [name for name in BROKEN if name != "entries"])
def test_without_a_window_the_data_decide(tmp_path, kind):
    mammogram = read_mammogram(write_mammogram(tmp_path / "b.dcm", RAMP, VOILUTSequence=sequence(*BROKEN[kind])))
    assert mammogram.voi == "lut" and np.abs(mammogram.pixels - ROOT[RAMP] / 4095).max() < 1e-6
    assert mammogram.conflicts[0].endswith("its data decide")


@pytest.mark.parametrize("broken", [([4096, 0, 12], ROOT[:1024]), ([4096, 0, 12], []), ([4096, 0], ROOT)])
def test_where_nothing_can_decide_the_stored_range_is_shown(tmp_path, broken):
    mammogram = read_mammogram(write_mammogram(tmp_path / "b.dcm", RAMP, VOILUTSequence=sequence(*broken)))
    assert mammogram.voi == "none" and np.abs(mammogram.pixels - RAMP / 4095).max() < 1e-6
    assert mammogram.conflicts[0].endswith("the stored range is shown")


@pytest.mark.parametrize(("descriptor", "data", "vr", "expected"), [
    ([4096, 0, 12], ROOT, "US", ROOT / 4095), ([4096, 0, 12], words(ROOT), "OW", ROOT / 4095),
    ([4096, 0, 8], bytes((ROOT // 16).astype(np.uint8)), "OW", (ROOT // 16) / 255),
    ([4096, 0, 8], words(ROOT // 16), "OW", (ROOT // 16) / 255),
    ([3000, 500, 12], ROOT[:3000], "US", ROOT[np.clip(np.arange(4096) - 500, 0, 2999)] / 4095),
    ([16384, 0, 12], words(ROOT[np.clip(np.arange(16384), 0, 4095)]), "OW", ROOT / 4095)])
def test_a_sound_lut_is_used_as_it_is_stored(tmp_path, descriptor, data, vr, expected):
    path = write_mammogram(tmp_path / "b.dcm", RAMP, VOILUTSequence=sequence(descriptor, data, vr), **WINDOW)
    mammogram = read_mammogram(path)
    assert mammogram.voi == "lut" and not mammogram.conflicts
    assert np.abs(mammogram.pixels - expected[RAMP]).max() < 1e-6


def test_65536_entries_are_written_as_none():
    item = sequence([0, 0, 16], words(np.arange(65536)), "OW")[0]
    lut = read_lut(item, 0, 65535)
    assert lut.usable and not lut.faults and lut.table.size == 65536
    assert lut(np.array([-1, 3, 70000])).tolist() == [0, 3, 65535] and lut(np.array([2.6])).tolist() == [3]


def modality(**tags):
    return {"ModalityLUTSequence": sequence(*tags.pop("lut")), **tags}


def test_a_modality_lut_is_applied_before_the_window(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", RAMP, **modality(lut=([4096, 0, 12], ROOT)), **WINDOW)
    mammogram = read_mammogram(path)
    assert not mammogram.conflicts and np.abs(mammogram.pixels - ROOT[RAMP] / 4095).max() < 1e-3


@pytest.mark.parametrize(("lut", "expected", "told"), [
    (([256, 0, 12], ROOT), ROOT, "its data decide"), (([4096, 63488, 12], ROOT), ROOT, "its data decide"),
    (([4096, 0, 8], ROOT), ROOT, ""), (([4096, 0, 12], ROOT[:100]), np.arange(4096), "it isn't used")])
def test_a_modality_lut_that_contradicts_its_data_is_recorded(tmp_path, lut, expected, told):
    mammogram = read_mammogram(write_mammogram(tmp_path / "a.dcm", RAMP, **modality(lut=lut), **WINDOW))
    assert np.abs(mammogram.pixels - expected[RAMP] / 4095).max() < 1e-3
    assert "its modality LUT contradicts its descriptor" in mammogram.conflicts[0]
    assert mammogram.conflicts[0].endswith(told)
