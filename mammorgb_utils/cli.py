"""`mammorgb`: the study's commands. Each has `--help`; a failure ends with one message and exit code 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from mammorgb_utils import commands
from mammorgb_utils.output.outputs import load_outputs


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on a failure that the message explains; argparse exits with 2 on wrong usage.
    """
    try:
        options = _parser().parse_args(arguments)
    except ValueError as error:  # the list of outputs, whose appendices a command offers
        print(f"mammorgb: {error}", file=sys.stderr)
        return 1
    try:
        options.command(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"mammorgb {options.name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"mammorgb {options.name}: stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mammorgb", description="The MammoRGB reproducibility study.")
    add = parser.add_subparsers(dest="name", required=True, metavar="COMMAND").add_parser

    def command(name, function, summary):
        sub = add(name, help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        sub.set_defaults(command=function)
        return sub

    _add_study(command)
    _add_data(command)
    _add_model(command)
    return parser


def _add_study(command: Callable[..., argparse.ArgumentParser]) -> None:
    sub = command("reproduce", commands.reproduce, "Run the study, appendices apart: what isn't done yet.")
    _add_which_study(sub)
    sub.add_argument("snakemake", nargs="*", help="after --: options handed to Snakemake")

    sub = command("appendices", commands.appendices, "Run the appendices of a study whose notebook 01 is done.")
    _add_which_study(sub)
    sub.add_argument("--only", nargs="+", choices=[name[:2] for name in load_outputs().appendices], default=None,
                     help="some of them; default: all")

    sub = command("run-notebook", commands.run_notebook, "Execute one notebook of a study into its run folder.")
    sub.add_argument("notebook", help="such as 02_train")
    sub.add_argument("out", type=Path, help="the executed copy")
    sub.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))

    _add_export(command("export", commands.export, "Write a run's synthetic pairs as 16-bit PNGs."))
    _add_score(command("score", commands.score,
                       "Score a folder of pairs, yours or a rival's, against a study's real pairs."))

    sub = command("report", commands.report, "Write a study's report: one self-contained page.")
    sub.add_argument("--run", default="laptop", help="name of the folder below runs/")

    sub = command("publish", commands.publish, "Copy a phantom run's figures, tables and notebooks here.")
    sub.add_argument("--run", default="laptop", help="name of the folder below runs/")

    _add_reader_study(command("reader-study", _reader_study, "A blinded page for readers, and the score of answers."))


def _add_export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--run", default="laptop", help="name of the folder below runs/")
    sub.set_defaults(flagged="refuse")
    flagged = sub.add_mutually_exclusive_group()
    for option, summary in (("leave-out", "leave out pairs that may repeat a training pair; without an option they "
                             "stop the export"), ("include", "write all pairs, also those that may repeat one")):
        flagged.add_argument(f"--{option}-flagged", dest="flagged", action="store_const", help=summary,
                             const=option.replace("-", " "), default=argparse.SUPPRESS)


def _add_score(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("pairs", type=Path, help="folder of <name>_CC.png and <name>_MLO.png, or a .npy (N, 2, H, W)")
    sub.add_argument("--run", default="laptop", help="study whose real pairs and protocol are used")
    sub.add_argument("--name", dest="label", default="candidate", help="what the pairs are called in the result")
    sub.add_argument("--out", type=Path, default=None, help="folder; default: runs/RUN/scores/NAME")
    sub.add_argument("--patients", type=Path, default=None, help="CSV with a column patient, one row a pair in the "
                     "same order; default: each pair is a patient")
    sub.add_argument("--resize", action="store_true", help="bring pairs of another size to the study's")
    sub.add_argument("--check", action="store_true", help="PAIRS is a folder that this command wrote: only compare its "
                     "tables with their digests")


def _reader_study(options: argparse.Namespace) -> None:
    from mammorgb_utils.experiments.readers import commands as readers  # takes seconds

    getattr(readers, options.step)(options)


def _add_reader_study(parser: argparse.ArgumentParser) -> None:
    add = parser.add_subparsers(dest="step", required=True, metavar="build|score").add_parser
    defaults = {"formatter_class": argparse.ArgumentDefaultsHelpFormatter}

    sub = add("build", help="write the page, and the key apart from it", **defaults)
    sub.add_argument("--run", default="laptop", help="name of the folder below runs/")
    sub.add_argument("--out", type=Path, required=True, help="folder for reader_study.html and key/key.json")
    sub.add_argument("--pairs", type=int, default=60, help="different pairs, half of them real")
    sub.add_argument("--repeats", type=int, default=12, help="pairs that are shown twice, at most a third")
    sub.add_argument("--seed", type=int, default=None, help="of choice and order; default: the study's own")
    sub.add_argument("--sets", nargs="+", choices=["sum", "absdiff", "zero"], default=None,
                     help="synthetic sets; default: all of the study")
    sub.add_argument("--floor", type=float, default=0.05, help="share of the grey range drawn black in every view")

    sub = add("score", help="score the files that readers saved", **defaults)
    sub.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="one file a reader")
    sub.add_argument("--key", type=Path, required=True, help="key.json that was written with the page")
    sub.add_argument("--out", type=Path, default=None, help="folder for tables and figure; default: scores beside key/")


def _add_which_study(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--profile", default="laptop", help="smoke, laptop, paper, or the path of a YAML file")
    sub.add_argument("--manifest", default="", help="your manifest; empty: the profile's phantom cohort")
    sub.add_argument("--run", default="", help="name of the folder below runs/; empty: the profile's name")
    sub.add_argument("--cores", type=int, default=None, help="cores to use; default: all")


def _add_data(command: Callable[..., argparse.ArgumentParser]) -> None:
    sub = command("phantom", commands.phantom, "Write the paired phantom cohort as DICOM, with its truth and manifest.")
    sub.add_argument("--profile", default="laptop", help="whose phantom_pairs and phantom_seed are used")
    sub.add_argument("--pairs", type=int, default=None, help="usable pairs, instead of the profile's")
    sub.add_argument("--seed", type=int, default=None, help="seed of the cohort, instead of the profile's")
    sub.add_argument("--out", type=Path, default=None, help="folder; default: data/phantom-PAIRS-SEED")
    sub.add_argument("--manifest", type=Path, default=None, help="manifest to write; default: the profile's own")
    sub.add_argument("--overwrite", action="store_true", help="replace a manifest that differs")

    sub = command("manifest", commands.manifest, "Write the manifest of an archive, from its own index and layout.")
    sub.add_argument("source", choices=["vindr", "rsna", "cbis", "cmmd", "inbreast", "embed", "folder"])
    sub.add_argument("root", type=Path, help="the archive's folder")
    sub.add_argument("--out", type=Path, default=None, help="manifest, in ROOT or above it; default: ROOT/manifest.csv")
    sub.add_argument("--heldout-fraction", type=float, default=0.5, help="share of patients that training never sees")
    sub.add_argument("--seed", type=int, default=0, help="of the split and of the numbering")
    sub.add_argument("--secret-file", type=Path, default=None, help="makes pseudonyms keyed digests, not numbers")
    sub.add_argument("--archive-split", action="store_true", help="use the archive's own split; its test is held out")
    sub.add_argument("--overwrite", action="store_true", help="replace a manifest that differs")
    sub.add_argument("--check", action="store_true", help="then read every image and report on its quality; a "
                     "manifest that is there already is checked as it is")
    sub.add_argument("--profile", default="laptop", help="whose for_processing and image_size --check reads with")

    sub = command("reference-cdf", commands.reference_cdf, "Average a manifest's training images to a reference CDF.")
    sub.add_argument("manifest", type=Path)
    sub.add_argument("out", type=Path, help="JSON file; name it as reference_cdf in a profile")
    sub.add_argument("--name", default="own archive", help="what the reference was taken from")
    sub.add_argument("--profile", default="laptop", help="whose choice and way of reading images are used")


def _add_model(command: Callable[..., argparse.ArgumentParser]) -> None:
    for name, function, summary in (
            ("train", commands.train, "Fine-tune a study's encodings, on several GPUs under `accelerate launch`."),
            ("sample", commands.sample, "Draw a study's pairs, on several GPUs under `accelerate launch`.")):
        sub = command(name, function, summary)
        sub.add_argument("--profile", default="laptop", help="smoke, laptop, paper, or the path of a YAML file")
        sub.add_argument("--manifest", default=commands.DEFAULT_MANIFEST, help="the study's manifest")
        sub.add_argument("--run", default="", help="name of the folder below runs/; empty: the profile's name")
        sub.add_argument("--encoding", default="all", help="sum, absdiff, zero, or all of the study's")

    sub = command("base-model", commands.base_model, "Pretrain the small base on phantom views put together at random.")
    sub.add_argument("--out", type=Path, default=Path("models/phantom-base-64"), help="pipeline folder to write")
    sub.add_argument("--work", type=Path, default=Path("runs/phantom-base-64"), help="checkpoints; continues from them")
    sub.add_argument("--breasts", type=int, default=8000, help="phantom breasts, two views each; 144 are held out")
    sub.add_argument("--steps", type=int, default=15000, help="optimiser steps of 16 images")
    sub.add_argument("--seed", type=int, default=64)


if __name__ == "__main__":
    sys.exit(main())
