"""Twenty thousand files through manifest and preprocessing, killed once and continued: time, memory, same result?

`python benchmarks/scale.py --files 20000` writes an archive of DICOM files to a temporary folder, the phantoms of
`mammorgb phantom --profile smoke` again and again with new patients and UIDs, makes its manifest and preprocesses it,
beside an archive of 200 files. `benchmarks/results/scale.csv` has one row a sample, `scale_summary.csv` one an archive.
It fails when a view differs from one computed alone, or when the killed run began anew. Some 700 kB a file are needed
on disk until the end.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pydicom
from pydicom.uid import generate_uid
from tqdm import tqdm

from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view, read_view
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, Run, read_table, write_csv

RESULTS = PROJECT_ROOT / "benchmarks" / "results"
PHANTOMS = PROJECT_ROOT / "data" / "phantom-48-22759"
SMALL = 200  # files of the archive that memory is compared with
COMPARED = 50  # views computed alone
MIB = 2**20
CHILD = ("import os, sys\nfrom pathlib import Path\n"
         "from mammorgb_utils.data.pairs import preprocess_cohort\n"
         "from mammorgb_utils.protocol import Protocol\nfrom mammorgb_utils.runs import Run\n"
         "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(sys.argv[3]):])\n"
         "protocol = Protocol.load('paper', unknown_birads='include', reference_cdf='phantom')\n"
         "preprocess_cohort(Run(Path(sys.argv[1]), protocol, Path(sys.argv[2])), progress=False)\n")


def protocol() -> Protocol:
    return Protocol.load("paper", unknown_birads="include", reference_cdf="phantom")


def write_archive(folder: Path, files: int) -> None:
    """Two files a patient, the views of one phantom breast."""
    manifest = read_table(PHANTOMS / "manifest.csv")
    manifest = manifest[(manifest["birads"] == 2) & ~manifest["implant"].astype(bool)]
    sources = [rows["path"].tolist() for _, rows in manifest.groupby("pair") if sorted(rows["view"]) == ["CC", "MLO"]]
    for number in tqdm(range(files // 2), desc="archive", unit="patient", mininterval=5):
        study, series = generate_uid(None), generate_uid(None)
        target = folder / f"{number // 100:03d}" / f"{number:05d}"
        target.mkdir(parents=True)
        for path in sources[number % len(sources)]:
            data = pydicom.dcmread(PHANTOMS / path)
            data.PixelData = _distinct(data.pixel_array, number).tobytes()
            data.PatientID = data.PatientName = f"Q{number:05d}"
            data.StudyInstanceUID, data.SeriesInstanceUID = study, series
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(None)
            data.save_as(target / Path(path).name)


def _distinct(codes: np.ndarray, number: int) -> np.ndarray:
    """Each patient's pictures darker in blocks of their own: the same picture under two patients counts once."""
    shares = np.random.default_rng(number).uniform(0.8, 1.0, (4, 4))
    blocks = np.kron(shares, np.ones([-(-side // 4) for side in codes.shape]))[:codes.shape[0], :codes.shape[1]]
    return np.rint(codes * blocks).astype(codes.dtype)


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *command], cwd=PROJECT_ROOT, start_new_session=True,
                            stdout=subprocess.DEVNULL)


def memory(process: psutil.Process) -> tuple[float, float]:
    """Resident memory of a process and of its largest worker [MiB]."""
    try:
        workers = [child.memory_info().rss for child in process.children(recursive=True)]
        return process.memory_info().rss / MIB, max(workers, default=0) / MIB
    except psutil.NoSuchProcess:
        return np.nan, np.nan


def done(run: Path) -> int:
    return sum(log.read_bytes().count(b"\n") for log in (run / "pairs").glob("views-*.part.jsonl"))


def watched(command: list[str], run: Path, step: str, every: float, stop_at: float = np.inf) -> list[dict]:
    """Run a command to its end, or kill it and all its workers after some files; one row a sample."""
    child, began, rows = start(command), time.monotonic(), []
    process = psutil.Process(child.pid)
    while child.poll() is None:
        resident, worker = memory(process)
        seconds, count = time.monotonic() - began, done(run)
        rows.append({"step": step, "seconds": seconds, "files_done": count, "parent_mib": resident,
                     "largest_worker_mib": worker})
        if count >= stop_at:
            os.killpg(child.pid, signal.SIGKILL)
        try:
            child.wait(every)
        except subprocess.TimeoutExpired:
            pass
    rows.append({"step": step, "seconds": time.monotonic() - began, "files_done": done(run)})
    if child.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"{step} failed with exit code {child.returncode}")
    return rows


def through(folder: Path, files: int, options: argparse.Namespace, *, kill: bool) -> pd.DataFrame:
    """Archive, manifest, preprocessing; the samples of all steps."""
    write_archive(folder / "archive", files)
    run, manifest = folder / "run", folder / "archive" / "manifest.csv"
    rows = watched(["-m", "mammorgb_utils.cli", "manifest", "folder", str(folder / "archive")], run, "manifest",
                   options.every)
    command, kept = ["-c", CHILD, str(run), str(manifest), str(options.cores)], 0
    if kill:
        rows += watched(command, run, "preprocess until killed", options.every, stop_at=0.4 * files)
        kept = done(run)
        if not 0.4 * files <= kept < files:
            sys.exit(f"{kept} of {files} files were done when it was killed; take more files")
    rest = watched(command, run, "preprocess to the end", options.every)
    if any(0 < row["files_done"] < kept for row in rest):
        sys.exit("the continued run began anew")
    rows += rest
    return with_rates(pd.DataFrame(rows).assign(archive_files=files))


def with_rates(samples: pd.DataFrame) -> pd.DataFrame:
    """Files a second since the sample before; the log of what is done goes with the last file."""
    samples["files_done"] = samples.groupby("step")["files_done"].cummax()
    steps = samples.groupby("step", sort=False)
    return samples.assign(files_per_s=steps["files_done"].diff() / steps["seconds"].diff())


def identical_views(folder: Path) -> int:
    """How many views, drawn at random, are byte for byte those computed alone in this process."""
    run = Run(folder / "run", protocol(), folder / "archive" / "manifest.csv")
    index, pairs = read_table(run.pairs_index), np.load(run.pairs, mmap_mode="r")
    paths = read_table(run.manifest).set_index(["pair", "view"])["path"]
    reference, same = load_reference_cdf(run.protocol), 0
    for row in np.random.default_rng(1).choice(len(index), COMPARED // 2, replace=False):
        for number, view in enumerate(("CC", "MLO")):
            path = run.manifest.parent / paths[index["pair"][row], view]
            alone = preprocess_view(read_view(path, run.protocol), reference, run.protocol).astype(np.float32).tobytes()
            same += hashlib.sha256(alone).digest() == hashlib.sha256(pairs[row, number].tobytes()).digest()
    return same


def summary(samples: pd.DataFrame, folder: Path) -> dict:
    files, work = int(samples["archive_files"][0]), samples[samples["step"] != "manifest"]
    seconds = work.groupby("step")["seconds"].max().sum()
    listing = samples.loc[samples["step"] == "manifest"]
    return {"files": files, "pairs": len(read_table(folder / "run" / "pairs" / "index.csv")),
            "kills": work["step"].nunique() - 1, "manifest_s": listing["seconds"].max(), "preprocess_s": seconds,
            "files_per_s": files / seconds, "manifest_peak_mib": listing["parent_mib"].max(),
            "parent_peak_mib": work["parent_mib"].max(), "worker_peak_mib": work["largest_worker_mib"].max(),
            "views_compared": COMPARED, "views_identical": identical_views(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="files of the large archive")
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder is made; default: TMPDIR")
    parser.add_argument("--cores", type=int, default=1, help="cores, and so worker processes, of the preprocessing")
    parser.add_argument("--every", type=float, default=5.0, help="between samples [s]")
    options = parser.parse_args()
    samples, rows = [], []
    for files in (SMALL, options.files):
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="mammorgb-scale-") as name:
            samples.append(through(Path(name), files, options, kill=files == options.files))
            rows.append(summary(samples[-1], Path(name)))
    table = pd.DataFrame(rows)
    table["parent_peak_ratio"] = table["parent_peak_mib"] / table["parent_peak_mib"][0]
    table["worker_peak_ratio"] = table["worker_peak_mib"] / table["worker_peak_mib"][0]
    print(table.round(2).T.to_string())
    write_csv(RESULTS / "scale.csv", pd.concat(samples).round(3))
    write_csv(RESULTS / "scale_summary.csv", table.round(3))
    sys.exit(0 if (table["views_identical"] == COMPARED).all() else 1)


if __name__ == "__main__":
    main()
