"""Missing views from the command line: marked files, the same ones when a killed call continues, and refusals."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_models import blob_pairs, save_base

from mammorgb_utils import commands, runs
from mammorgb_utils.cli import main
from mammorgb_utils.data.manifest import write_manifest
from mammorgb_utils.data.pair_folder import unread_files
from mammorgb_utils.data.synthetic import is_synthetic
from mammorgb_utils.diffusion.engine import sample_store
from mammorgb_utils.diffusion.sampling import sample_pairs
from mammorgb_utils.diffusion.training import train
from mammorgb_utils.output.completed import complete_run
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, RunError, write_json

DOWN = {"down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The root of a project whose run `r` has one model, of one step."""
    root = tmp_path_factory.mktemp("project")
    base = save_base(root / "base", sample_size=64, **DOWN)
    protocol = Protocol.load("smoke", base_model=str(base), encodings=("sum",), batch_size=2, epochs=0.5,
                             precision="fp32", sampling_steps=3, sampling_batch=2)
    folder = root / "runs" / "r"
    write_json(folder / "protocol.json", {"protocol": protocol.model_dump(mode="json"), "manifest_sha256": ""})
    train(blob_pairs(4, 64), protocol, "sum", folder / "training" / "sum", model_dir=folder / "models" / "sum",
          progress=False)
    return root


@pytest.fixture
def run(trained, monkeypatch):
    for module in (runs, commands):
        monkeypatch.setattr(module, "PROJECT_ROOT", trained)
    return Run.recorded("r")


def test_the_missing_view_of_a_cohort_is_drawn_and_marked(run, cohort, tmp_path, capsys):
    folder, out = cohort[0], tmp_path / "out"
    assert main(["complete", str(folder / "manifest.csv"), "--run", "r", "--draws", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(out / "completed.csv")
    lone = table["pair"].iloc[0]
    given = cohort[1].loc[cohort[1]["pair"] == lone, "view"].tolist()
    assert given == table["given"].unique().tolist() and table["drawn"].iloc[0] != given[0]
    assert table["file"].tolist() == [f"{lone}_{table['drawn'].iloc[0]}_synthetic-0{i}.png" for i in range(2)]
    assert "2 synthetic views, by the model sum" in printed and "× view that has its partner" in printed
    assert {path.name for path in out.iterdir()} == {*table["file"], "completed.csv", "completed.json", ".gitignore",
                                                     ".lock"}
    with Image.open(out / table["file"].iloc[1]) as image:
        assert (image.size, np.asarray(image).dtype) == ((64, 64), np.uint16)
        assert {"Synthetic", "Given", "Drawn", "Draw", "encoding", "model", "seed", "draws"} == set(image.info)
        assert image.info["Draw"] == "1" and "not an image of a patient" in image.info["Synthetic"]
    assert all(is_synthetic(out / file) for file in table["file"])
    assert set(table["file"]) <= set(unread_files(out)), "`mammorgb score` takes no drawn view for one of a pair"


def test_both_ways_and_what_is_not_known_to_be_a_phantom_is_not_shared(run, cohort, tmp_path):
    whole = cohort[1].groupby("pair").filter(lambda part: (part["birads"] == 2).all() and len(part) == 2)
    rows = whole.iloc[[0, 3]].assign(source="mine")
    assert rows["view"].tolist() == ["CC", "MLO"]
    source = cohort[0] / "two.csv"
    write_manifest(rows, source)
    said = complete_run(run, source, out=tmp_path, progress=False)
    assert said[-3:-1] == ["CC given: 1 breasts", "MLO given: 1 breasts"]
    assert pd.read_csv(tmp_path / "completed.csv")["drawn"].tolist() == ["MLO", "CC"]
    assert "patient data, do not share" in (tmp_path / "DO_NOT_SHARE.txt").read_text()


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*_synthetic-*.png"))}


def test_a_killed_call_continues_to_the_same_files_and_a_finished_one_is_kept(run, cohort, tmp_path, monkeypatch):
    source, asked = cohort[0] / "manifest.csv", []
    complete_run(run, source, draws=5, out=tmp_path / "whole", progress=False)

    def killed(*arguments, **options):
        asked.append(options["start"])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return sample_pairs(*arguments, **options)

    monkeypatch.setattr(sample_store, "sample_pairs", killed)
    with pytest.raises(KeyboardInterrupt):
        complete_run(run, source, draws=5, out=tmp_path / "killed", progress=False)
    assert not files(tmp_path / "killed")
    complete_run(run, source, draws=5, out=tmp_path / "killed", progress=False)
    assert len(asked) == 4 and asked[1] == asked[2]
    assert files(tmp_path / "killed") == files(tmp_path / "whole") and len(files(tmp_path / "whole")) == 5
    complete_run(run, source, draws=5, out=tmp_path / "killed", progress=False)
    assert len(asked) == 4, "a finished folder is left as it is"


def test_a_folder_of_other_views_and_a_study_without_model_are_refused(run, cohort, tmp_path):
    source = cohort[0] / "manifest.csv"
    complete_run(run, source, out=tmp_path, progress=False)
    before = files(tmp_path)
    with pytest.raises(RunError, match=r"holds views that were drawn otherwise \(draws differ\); choose another --out"):
        complete_run(run, source, draws=2, out=tmp_path, progress=False)
    assert files(tmp_path) == before
    with pytest.raises(RunError, match="--draws 0: at least one"):
        complete_run(run, source, draws=0, progress=False)
    with pytest.raises(RunError, match="encoding 'zero' isn't in this study"):
        complete_run(run, source, encoding="zero", progress=False)
    (run.model("sum") / "mammorgb.json").rename(run.root / "away")
    with pytest.raises(RunError, match="runs/r has no finished model 'sum'; run `make reproduce RUN=r`"):
        complete_run(run, source, progress=False)
    (run.root / "away").rename(run.model("sum") / "mammorgb.json")
