"""Identifiers planted wherever a mammogram can hold them; nothing that a study writes may show one. About a minute."""

import base64
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mammorgb_utils.data.phantom import write_cohort
from mammorgb_utils.runs import PROJECT_ROOT

NAME, ID, DATE, ACCESSION = "Quillfeather", "QF-770193", "19470311", "ACC5520417"
SITE, SERIAL, UID, SPOKEN = "Nettlecombe", "SN-338812", "7701934703115520417", "Ottoline"
PLANTED = (NAME, ID, DATE, ACCESSION, SITE, SERIAL, UID, SPOKEN, "1947-03-11")
RUN = "test-privacy"
PROFILE = """profile: test-privacy
unknown_birads: include
encodings: [sum]
batch_size: 4
epochs: 1.0
n_synthetic: 6
sampling_steps: 2
n_permutations: 50
n_bootstrap: 50
n_derangements: 3
"""


def plant(dataset: Dataset, number: int) -> None:
    """Names, dates, IDs, accession numbers and a site in every place that a header has for them, and some it hasn't."""
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = f"{NAME}^{SPOKEN}", f"{ID}-{number}", DATE
    dataset.AccessionNumber, dataset.StudyID, dataset.StudyDate = ACCESSION, ACCESSION, DATE
    dataset.InstitutionName, dataset.StationName, dataset.DeviceSerialNumber = SITE, SITE, SERIAL
    dataset.ReferringPhysicianName, dataset.OperatorsName = f"{NAME}^Dr", f"{NAME}^Tech"
    dataset.SeriesDescription = dataset.ImageComments = f"{SPOKEN} {NAME} {DATE}"
    dataset.Manufacturer, dataset.ManufacturerModelName = f"{SITE} works", f"built for {NAME}"
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureDescription = ACCESSION, f"for {NAME}"
    dataset.RequestAttributesSequence = Sequence([request])
    other = Dataset()
    other.PatientID = ID
    dataset.OtherPatientIDsSequence = Sequence([other])
    dataset.ViewCodeSequence[0].CodeMeaning = f"view of {NAME}"
    dataset.add_new((0x0011, 0x0010), "LO", SITE)
    dataset.add_new((0x0011, 0x1001), "LO", f"{NAME} {ID}")
    dataset.add_new((0x6000, 0x0022), "LO", f"{NAME} {DATE}")
    dataset.add_new((0x6000, 0x3000), "OB", (f"{NAME} {ID} ".encode() * 8)[:128])
    icon = Dataset()
    icon.Rows, icon.Columns, icon.ImageComments = 2, 2, NAME
    icon.PixelData = NAME.encode() * 2
    dataset.IconImageSequence = Sequence([icon])
    dataset.StudyInstanceUID = f"2.25.{UID}{number}"
    dataset.SeriesInstanceUID = dataset.FrameOfReferenceUID = f"2.25.{UID}1{number}"


def quoting_errors(path: Path, dataset: Dataset, kind: str) -> None:
    """A file whose damage puts an identifier into a decoder's message."""
    if kind == "window":
        dataset.add_new("WindowCenter", "LO", NAME)
    elif kind == "orientation":
        dataset.add_new("PatientOrientation", "LO", NAME)
    elif kind == "view":
        del dataset.ViewCodeSequence
        dataset.add_new("ViewPosition", "LO", NAME)
    elif kind == "photometric":
        dataset.add_new("PhotometricInterpretation", "LO", NAME)
    dataset.save_as(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Iterator[Path]:
    """Phantoms under patients' names, in folders and files that name them."""
    made = tmp_path_factory.mktemp("phantoms")
    rows = write_cohort(made, 12, seed=7, progress=False)
    root = PROJECT_ROOT / "data" / RUN
    shutil.rmtree(root, ignore_errors=True)
    patients = {patient: number for number, patient in enumerate(rows["patient"].unique())}
    kinds = ["window", "orientation", "view", "photometric"]
    for number, row in enumerate(rows.itertuples()):
        folder = root / f"{NAME}_{ID}" / f"{DATE}_{patients[row.patient]}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            dataset = pydicom.dcmread(made / row.path)
            plant(dataset, patients[row.patient])
            kind = kinds.pop() if kinds and number % 9 == 4 else ""
            quoting_errors(folder / f"{SPOKEN}{number}.dcm", dataset, kind)
        except (AttributeError, ValueError, EOFError):  # the cohort's own damaged file
            shutil.copy(made / row.path, folder / f"{SPOKEN}{number}.dcm")
    (root / "profile.yaml").write_text(PROFILE)
    yield root
    shutil.rmtree(root)
    shutil.rmtree(PROJECT_ROOT / "runs" / RUN, ignore_errors=True)
    shutil.rmtree(PROJECT_ROOT / "runs" / f"{RUN}-failed", ignore_errors=True)


def mammorgb(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "mammorgb_utils.cli", *arguments], cwd=PROJECT_ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def printed(archive) -> str:
    """All that a user's terminal shows from the archive to the export, and of a study that fails."""
    data = f"data/{RUN}"
    text = mammorgb("manifest", "folder", data, "--check")
    study = ["reproduce", "--profile", f"{data}/profile.yaml", "--manifest", f"{data}/manifest.csv"]
    text += mammorgb(*study, "--run", RUN) + mammorgb("export", "--run", RUN) + mammorgb("crate", RUN)
    spoilt = pd.read_csv(archive / "manifest.csv", dtype=str, keep_default_na=False)
    file = archive / spoilt["path"].iloc[0]
    original = file.read_bytes()
    file.write_bytes(original + b"\0")
    text += mammorgb(*study, "--run", f"{RUN}-failed", code=1)
    file.write_bytes(original)
    return text


def shown(content: bytes) -> Iterator[bytes]:
    """A file's bytes, and what is packed inside: compressed streams of PNG and PDF, base64 of notebooks and pages."""
    yield content
    for start in re.finditer(rb"stream\r?\n|zTXt|iTXt|IDAT", content):
        inflater = zlib.decompressobj()
        for skip in (0, *range(8, 90)) if start.group() in (b"zTXt", b"iTXt") else (0,):
            try:
                yield inflater.decompress(content[start.end() + skip:])
                break
            except zlib.error:
                inflater = zlib.decompressobj()
    for packed in re.findall(rb"[A-Za-z0-9+/\\n]{200,}={0,2}", content):
        text = packed.replace(b"\\n", b"")
        yield base64.b64decode(text[: len(text) // 4 * 4])


def traces(content: bytes) -> set[str]:
    return {word for part in shown(content) for word in PLANTED if word.lower().encode() in part.lower()}


def test_the_search_finds_what_is_planted():
    text = f"a {NAME} b".encode()
    stream = b"stream\n" + zlib.compress(text)
    assert traces(text) == traces(stream) == traces(b'"' + base64.b64encode(text * 30) + b'"') == {NAME}


def test_the_manifest_holds_identifiers_in_its_path_column_alone(printed, archive):
    frame = pd.read_csv(archive / "manifest.csv", dtype=str, keep_default_na=False)
    assert len(frame) > 24 and NAME in frame["path"].iloc[0]
    assert not traces(frame.drop(columns="path").to_csv().encode())


def test_the_quality_report_holds_none(printed, archive):
    files = [file for file in (archive / "manifest_quality").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".csv", ".html"}
    assert not {(file.name, word) for file in files for word in traces(file.read_bytes() + file.name.encode())}


@pytest.mark.parametrize("run", [RUN, f"{RUN}-failed"])
def test_nothing_in_the_run_folder_holds_one(printed, run):
    files = [file for file in (PROJECT_ROOT / "runs" / run).rglob("*") if file.is_file()]
    if run == RUN:
        assert {file.suffix for file in files} >= {".ipynb", ".csv", ".png", ".pdf", ".tex", ".json", ".npy"}
        assert {"DO_NOT_SHARE.txt", "ro-crate-metadata.json", "log.txt"} <= {file.name for file in files}
    else:
        assert any(".failed." in file.name for file in files)
    found = {(file.name, word) for file in files for word in traces(file.read_bytes() + file.name.encode())}
    assert not found


def test_the_terminal_shows_none(printed):
    assert not traces(printed.encode())


def test_damaged_files_are_in_the_record_with_a_reason(printed):
    record = pd.read_csv(PROJECT_ROOT / "runs" / RUN / "pairs" / "images.csv")
    assert record["code"].notna().any() and record.loc[record["code"].notna(), "detail"].notna().all()
