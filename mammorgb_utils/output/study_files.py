"""Which files a study's folder has when it is finished, and what follows from one that is missing."""

from __future__ import annotations

import json
from pathlib import Path

from mammorgb_utils.output.producers import APPENDICES, FIGURES, TABLES

METRICS = ("overlap", "shuffled", "overlap_by_method", "shuffled_by_method", "anatomy", "third_residuals", "texture",
           "nearest_training")


def declared_files(encodings: tuple[str, ...]) -> dict[str, str]:
    """Every file that a finished study shows, relative to its run folder, and the stage that writes it."""
    stages = ["01_preprocess", *(f"02_train_{name}" for name in encodings),
              *(f"03_sample_{name}" for name in encodings), "04_metrics", "05_stats"]
    files = {f"notebooks/{stage}.ipynb": stage for stage in stages}
    for folder, kinds, declared in (("figures", ("pdf", "png"), FIGURES), ("tables", ("csv", "tex"), TABLES)):
        for name, notebook in declared.items():
            stage = notebook if notebook in stages else f"{notebook}_{name.removeprefix('gallery_')}"
            if stage in stages:
                files |= {f"{folder}/{name}.{kind}": stage for kind in kinds}
    return files


def appendix_files(stage: str) -> list[str]:
    """Every file that an appendix shows, relative to the run folder."""
    files = [f"figures/{name}.{kind}" for name, notebook in FIGURES.items() if notebook == stage
             for kind in ("pdf", "png")]
    files += [f"tables/{name}.{kind}" for name, notebook in TABLES.items() if notebook == stage
              for kind in ("csv", "tex")]
    return [f"notebooks/{stage}.ipynb", *files]


def finished_appendices(root: Path) -> list[str]:
    """The files of those appendices that a run folder holds in whole."""
    found = [files for files in map(appendix_files, APPENDICES) if all((root / file).is_file() for file in files)]
    return [file for files in found for file in files]


def missing_files(root: Path) -> dict[str, str]:
    """Declared files, and data that later stages read, which a run folder lacks; each with its stage."""
    encodings = tuple(json.loads((root / "protocol.json").read_text(encoding="utf-8"))["protocol"]["encodings"])
    files = declared_files(encodings)
    files |= dict.fromkeys(("pairs/pairs.npy", "pairs/index.csv", "pairs/images.csv"), "01_preprocess")
    files |= {f"metrics/{name}.csv": "04_metrics" for name in METRICS}
    for name in encodings:
        files[f"models/{name}/model_index.json"] = f"02_train_{name}"
        files |= {f"samples/{name}/{channel}.npy": f"03_sample_{name}" for channel in ("pairs", "third")}
    return {file: stage for file, stage in files.items() if not (root / file).is_file()}


def forget_lost_stages(root: Path) -> None:
    """A stage of which a file was removed by hand is redone: Snakemake watches its executed notebook alone."""
    for stage in set(missing_files(root).values()):
        (root / "notebooks" / f"{stage}.ipynb").unlink(missing_ok=True)
