"""A study's folder with drawn pairs, made in a moment: what reports and scores read."""

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd

from mammorgb_utils import runs
from mammorgb_utils.output.saving import save_figure, save_table
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_array, write_csv, write_json

SIZE, N = 64, 24
SMALL = {"image_size": SIZE, "n_synthetic": N, "n_bootstrap": 40, "n_permutations": 40, "n_derangements": 3}


def drawn_pairs(n: int, seed: int, size: int = SIZE) -> np.ndarray:
    """Half-ellipses of like depth in both views, bright tissue on black air."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    pairs = np.zeros((n, 2, size, size), np.float32)
    for pair in pairs:
        depth, height = rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.42)
        for view in pair:
            shape = (x / (depth + rng.normal(0, 0.03))) ** 2 + ((y - rng.normal(0.5, 0.03)) / height) ** 2 < 1.0
            view[:] = np.where(shape, 0.5 + 0.15 * rng.standard_normal(shape.shape), 0.0).clip(0.0, 1.0)
    return pairs


def small_study(root: Path, monkeypatch, *, source: str = "phantom", name: str = "small", **fields) -> Run:
    """`root/runs/<name>` with pairs, samples, metrics, one figure and the tables of claims."""
    monkeypatch.setattr(runs, "PROJECT_ROOT", root)
    folder = root / "runs" / name
    protocol = Protocol.load("smoke").changed(**SMALL, **fields)
    write_json(folder / "protocol.json", {"protocol": protocol.model_dump(mode="json"), "manifest_sha256": "ab" * 32})
    run = Run.recorded(name)
    names = [f"P{i:04d}" for i in range(2 * N)]
    index = pd.DataFrame({"pair": names, "patient": names, "laterality": "L", "source": source,
                          "split": ["heldout"] * N + ["train"] * N})
    write_array(run.pairs, drawn_pairs(2 * N, 0))
    write_csv(run.pairs_index, index)
    write_csv(run.images, pd.DataFrame({"pair": names, "excluded": ""}))
    _results(run)
    return run


def _results(run: Run) -> None:
    metrics = pd.DataFrame({"set": ["real", "sum"], "pair": ["P0", "sum-0"], "iou": [0.8, np.nan]})
    write_csv(run.overlap, metrics)
    figure = plt.figure(figsize=(7.2, 2.0))
    save_figure(figure, run.figures, "distances")
    plt.close(figure)
    claims = pd.DataFrame([{"id": name, "claim": f"Claim {name}", "paper": "p < 0.001", "criterion": "< & >",
                            "observed": "seen", "verdict": verdict, "note": ""}
                           for name, verdict in (("C1", "reproduced on phantoms"), ("C4", "underpowered on phantoms"),
                                                 ("C6", "not run on phantoms"))])
    save_table(claims, run.tables, "claims")
    judged = claims.iloc[[1]].assign(verdict="not reproduced on phantoms", observed="over three runs")
    save_table(judged, run.tables, "third_channel_claim")
    save_table(claims.iloc[[2]], run.tables, "learning_rates_claim")
    effects = pd.DataFrame({"set": ["sum"], "measure": ["iou"], "hodges_lehmann": [0.1234567],
                            "equivalence": ["<b>x</b>"], "note": ["no column of a page"]})
    save_table(effects, run.tables, "effects")
    executed(run, "05_stats", minutes=2.0)


def executed(run: Run, stage: str, minutes: float) -> None:
    """An executed notebook with a provenance line and papermill's times."""
    cells = [nbformat.v4.new_markdown_cell(f"# {stage[:2]} · A stage\n\n**Question.** What was found?"),
             nbformat.v4.new_code_cell("provenance(study)", outputs=[nbformat.v4.new_output(
                 "execute_result", data={"text/plain": "{'commit': 'abc123',\n 'python': '3.11',\n 'numpy': '2'}"})])]
    ended = f"2026-01-02T03:{4 + round(minutes):02d}:05.123456+00:00"
    cells[1].metadata["papermill"] = {"duration": 60.0 * minutes, "start_time": "2026-01-02T03:04:05.000001+00:00",
                                      "end_time": ended}
    path = run.root / "notebooks" / f"{stage}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
