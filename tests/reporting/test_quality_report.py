"""The quality report: what it shows, that it names nobody, and that a page fits its window."""

import base64
import re
import shutil
import subprocess
import sys
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from browser import CHROMIUM, needs_chromium
from PIL import Image

from mammorgb_utils.cli import main
from mammorgb_utils.data.manifest import write_manifest
from mammorgb_utils.output.pages import figure_uri, render
from mammorgb_utils.reporting import quality_report

PLANTED = {"PatientName": "Doe^Jane", "PatientID": "SECRETID", "PatientBirthDate": "19591231",
           "AccessionNumber": "SECRETACC", "StudyDate": "20180704", "InstitutionName": "Secret Hospital",
           "DeviceSerialNumber": "SECRETSERIAL", "StudyDescription": "SECRETTEXT", "ManufacturerModelName": "Doe Model",
           "ImageComments": "Jane", "StudyInstanceUID": "1.2.826.0.1.77777"}
SECRETS = ("Doe", "Jane", "SECRET", "19591231", "20180704", "Secret", "77777")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def archive(cohort, tmp_path_factory) -> Path:
    """Copies of phantoms with planted identifiers in tags and names, one of them flipped."""
    folder, rows = cohort
    root = tmp_path_factory.mktemp("archive")
    flipped = rows.index[(rows["birads"] == 2) & (rows["view"] == "MLO")][0]
    for row in rows.itertuples():
        target = root / "images" / f"SECRET_Doe_{row.Index}.dcm"
        target.parent.mkdir(exist_ok=True)
        plant(folder / row.path, target, flip=row.Index == flipped)
    paths = [f"images/SECRET_Doe_{number}.dcm" for number in rows.index]
    write_manifest(rows.assign(path=paths, source="hospital"), root / "mine.csv")
    return root


def plant(source, target, *, flip):
    try:
        data = pydicom.dcmread(source)
        for name, value in PLANTED.items():
            setattr(data, name, value)
        if flip:
            data.PixelData = np.ascontiguousarray(data.pixel_array[:, ::-1]).tobytes()
        data.save_as(target)
    except (OSError, ValueError):  # the one that can't be read
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def checked(archive) -> tuple[Path, str]:
    """The report's folder, and what the command printed."""
    done = subprocess.run([Path(sys.executable).with_name("mammorgb"), "manifest", "folder", archive,
                           "--out", archive / "mine.csv", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return archive / "mine_quality", done.stdout + done.stderr


def page(checked) -> str:
    return (checked[0] / "report.html").read_text(encoding="utf-8")


def test_the_command_prints_counts_and_where_the_report_is(checked, cohort):
    folder, printed = checked
    assert "mine.csv is there already and checked as it is" in printed
    assert f"Report: {folder / 'report.html'}" in printed
    assert re.search(r"^Rejected: implant: \d+ \(", printed, re.M)
    assert re.search(r"^Chest wall not where the tags put it: 1 \(", printed, re.M)
    assert f"All images: {len(cohort[1])} (100.0%)" in printed


def test_one_row_an_image_in_the_table(checked, cohort):
    table = pd.read_csv(checked[0] / "quality.csv", keep_default_na=False)
    assert table["pair"].tolist() == cohort[1]["pair"].tolist() and {"path", "sha256"}.isdisjoint(table)
    assert table["odd"].str.contains("on the (?:left|right) by its pixels").sum() == 1
    assert (table.loc[table["code"] != "", "odd"] == table.loc[table["code"] != "", "reason"]).all()


def test_no_identifier_and_no_path_in_any_output(checked, archive):
    folder, printed = checked
    assert {path.name for path in folder.iterdir()} == {"quality.csv", "report.html", "DO_NOT_SHARE.txt",
                                                      ".gitignore"}
    text = page(checked)
    payloads = [base64.b64decode(part) for part in re.findall(r"base64,([\w+/=]+)", text)]
    outputs = [path.read_bytes() for path in folder.iterdir()] + payloads
    outputs += [path.read_bytes() for path in (archive / ".mammorgb-cache").glob("*.jsonl")]
    outputs.append(printed.replace(str(folder), "").encode())
    digests = pd.read_csv(archive / "mine.csv")["sha256"]
    for output in outputs:
        assert not [secret for secret in SECRETS if secret.encode() in output]
        assert str(archive).encode() not in output and b".dcm" not in output
        assert not any(digest.encode() in output for digest in digests)
    for payload in payloads:
        if payload.startswith(b"\x89PNG"):
            assert Image.open(BytesIO(payload)).info.keys() <= {"transparency"}


def test_the_page_stands_alone_and_tells_what_its_pictures_show(checked):
    text = page(checked)
    assert not re.search(r"(src|href)=[\"'](?!data:)", text) and "<script" not in text and "@import" not in text
    assert "Do not share." in text and "hospital" in text and "<h3>Chest wall not where the tags put it: 1</h3>" in text
    images = re.findall(r"<img [^>]*>", text)
    assert images and all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    assert re.search(r"<strong>P\d+_E1_[LR] MLO</strong>", text)


def test_names_in_a_manifest_are_text_not_markup(cohort, monkeypatch):
    images = pd.DataFrame({"pair": ["<b>x</b>"], "view": ["CC"], "row": [2], "code": ["unreadable"], "scanner": ["A&B"],
                           "reason": ["it can't be decoded"], "source": ["<i>"], "transfer_syntax": "",
                           "photometric": "", "bits": 12, "voi": "", "voi_choices": 0})
    odd = pd.DataFrame({"reason": ["Rejected: unreadable"], "image": [0], "sentence": ["it can't be decoded"]})
    text = render("quality.html", **quality_report.page_content(images, odd, odd.head(0), {}))
    assert "&lt;b&gt;x&lt;/b&gt;" in text and "<b>x" not in text and "A&amp;B" in text


def test_thumbnails_are_shared_fairly_among_reasons():
    images = pd.DataFrame({"code": ["unreadable"] * 5 + [""] * 400})
    odd = pd.DataFrame({"reason": ["Rejected"] * 5 + [f"r{i % 20}" for i in range(400)], "image": range(405)})
    chosen = quality_report.examples(images, odd)
    assert len(chosen) == 120 and chosen["reason"].value_counts().unique().tolist() == [6]
    assert chosen["image"].is_monotonic_increasing and chosen["image"].min() == 5
    assert len(quality_report.examples(images, odd[odd["reason"] == "r3"])) == 12


def test_a_thumbnail_outlines_the_region():
    region = np.zeros((40, 30), bool)
    region[10:30, :15] = True
    shown = np.asarray(Image.open(BytesIO(quality_report.thumbnail(np.full((40, 30), 0.5, np.float32), region)))
                       .convert("RGB")).astype(int)
    outline = (shown == quality_report.OUTLINE).all(axis=2)
    assert outline[10, :15].all() and outline[10:30, 14].all() and not outline[15, 5] and not outline[~region].any()
    assert np.abs(shown[~outline] - 127).max() <= 1


def test_figures_are_the_same_every_time():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(64), 30)
    first, again = (figure_uri(quality_report.scanner_intensities(shares, shares)) for _ in range(2))
    drawing = base64.b64decode(first.removeprefix("data:image/svg+xml;base64,"))
    assert first == again and b"<svg" in drawing and b"<dc:date>" not in drawing and b"Matplotlib" not in drawing


def test_a_manifest_is_written_first_where_there_is_none(cohort, tmp_path, monkeypatch, capsys):
    def report(manifest, protocol):
        assert manifest.is_file() and protocol.for_processing == "reject"
        return ["All images: 2"]

    monkeypatch.setattr(quality_report, "report_quality", report)
    for source in cohort[1][cohort[1]["birads"] == 2]["path"][:2]:
        shutil.copy(cohort[0] / source, tmp_path)
    assert main(["manifest", "folder", str(tmp_path), "--check"]) == 0
    printed = capsys.readouterr().out
    assert "images: 2; breasts with both views: 1" in printed and "All images: 2" in printed
    assert main(["manifest", "folder", str(tmp_path), "--check"]) == 0
    assert "checked as it is" in capsys.readouterr().out


def test_git_ignores_the_report():
    ignored = subprocess.run(["git", "check-ignore", "-q", "archive/manifest_quality/report.html"], cwd=ROOT)
    assert ignored.returncode == 0


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window(checked, tmp_path, width):
    frame = f'<iframe id="f" style="border:0;width:{width}px;height:900px" srcdoc="{escape(page(checked))}"></iframe>'
    script = "<script>onload = () => { const w = f.contentWindow; document.title = " \
             "[w.document.documentElement.scrollWidth, w.innerWidth].join(' ') }</script>"
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><title></title>{frame}{script}", encoding="utf-8")
    found = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                            f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1400,1000",
                            (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120)
    needed, window = map(int, re.search(r"<title>(\d+) (\d+)</title>", found.stdout).groups())
    assert needed <= window == width
