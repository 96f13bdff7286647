"""What `mammorgb reader-study build` and `score` do."""

from __future__ import annotations

import argparse

from mammorgb_utils.experiments.readers.build import build_study
from mammorgb_utils.experiments.readers.files import KEY, PAGE, read_key, read_results
from mammorgb_utils.experiments.readers.score import artefact_rates, figure, remark, score_readers
from mammorgb_utils.output.saving import save_figure, save_table
from mammorgb_utils.output.tables import rounded
from mammorgb_utils.runs import Run


def build(options: argparse.Namespace) -> None:
    """Write the page and the key."""
    run = Run.recorded(options.run)
    key = build_study(run, options.out, pairs=options.pairs, repeats=options.repeats, seed=options.seed,
                      sets=options.sets or (), floor=options.floor)
    print(f"{options.out / PAGE}: {len(key.cases)} cases, for the readers")
    print(f"{options.out / KEY}: tells real from synthetic, keep it from the readers")
    if key.patients:
        print("The page is made from patients' images: do not share it beyond those who may see them")


def score(options: argparse.Namespace) -> None:
    """Score results, print the table, and write tables and figure."""
    key = read_key(options.key)
    readings = read_results(options.results, key)
    table, rates = score_readers(readings), artefact_rates(readings)
    note = remark(readings)
    out = options.out or options.key.parent.parent / "scores"
    save_table(table, out, "reader_study", remark=note)
    save_table(rates, out, "reader_study_artefacts", remark=note)
    save_figure(figure(readings, table, rates), out, "reader_study")
    print(rounded(table).to_string(index=False))
    if note:
        print(note)
    print(f"{out}: tables reader_study and reader_study_artefacts, figure reader_study")
