"""`mammorgb`: the study's commands. Each has `--help`; a failure ends with one message and exit code 1."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mammorgb_utils import commands
from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.protocol import THIRD_CHANNELS
from mammorgb_utils.runs import require_own_checkout
from mammorgb_utils.scheduling import ended_by_signals, settle

Option = tuple[str, dict[str, Any]]
Command = tuple[str, Callable[[argparse.Namespace], None], str, list[Option]]


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on a failure that the message explains, 128 and the signal's number where one ended it;
        argparse exits with 2 on wrong usage.
    """
    name = "mammorgb"
    try:
        options = _parser().parse_args(arguments)
        name = f"mammorgb {options.called}"
        require_own_checkout()
        settle()
        with ended_by_signals():
            options.command(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(f"{name}: stopped; the same command continues", file=sys.stderr)
        return 128 + (stopped.args[0] if stopped.args else signal.SIGINT)
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = {"formatter_class": argparse.ArgumentDefaultsHelpFormatter}
    parser = argparse.ArgumentParser(prog="mammorgb", description="The MammoRGB reproducibility study.")
    add = parser.add_subparsers(dest="called", required=True, metavar="COMMAND").add_parser
    for name, function, summary, options in (*_study(), *_pairs(), *_data(), *_models()):
        _filled(add(name, help=summary, description=summary, **defaults), function, options)
    summary = "A blinded page for readers, and the score of answers."
    readers = add("reader-study", help=summary, description=summary)
    add = readers.add_subparsers(dest="step", required=True, metavar="build|score").add_parser
    for name, function, summary, options in _readers():
        _filled(add(name, help=summary, **defaults), function, options)
    return parser


def _filled(parser: argparse.ArgumentParser, function: Callable[[argparse.Namespace], None],
            options: list[Option]) -> None:
    parser.set_defaults(command=function)
    constants = [option for option in options if "const" in option[1]]
    group = parser.add_mutually_exclusive_group() if constants else parser
    for option in options:
        (group if option in constants else parser).add_argument(*option[0].split(), **option[1])


def _option(name: str, text: str, default: Any = None, **more: Any) -> Option:
    """An option; its values are of the type that its default has where none is given."""
    kind = {"type": type(default)} if isinstance(default, (int, float, Path)) else {}
    return name, {"help": text, "default": default, **kind, **more}


def _argument(name: str, text: str | None = None, **more: Any) -> Option:
    return name, {"help": text, **more}


def _switch(name: str, text: str) -> Option:
    return name, {"help": text, "action": "store_true"}


_PROFILE = _option("--profile", "smoke, laptop, workstation, paper, or the path of a YAML file", "laptop")
_MANIFEST = _option("--manifest", "your manifest; empty: the profile's phantom cohort", "")
_NAME = _option("--run", "name of the folder below runs/; empty: the profile's name", "")
_RUN = _option("--run", "name of the folder below runs/", "laptop")


def _study() -> Iterator[Command]:
    which = [_PROFILE, _MANIFEST, _NAME, _option("--cores", "cores to use; default: all", type=int)]
    yield ("reproduce", commands.reproduce, "Run the study, appendices apart: what isn't done yet.",
           [*which, _argument("snakemake", "after --: options handed to Snakemake", nargs="*")])
    yield ("appendices", commands.appendices, "Run the appendices of a study whose notebook 01 is done.",
           [*which, _option("--only", "some of them; default: all", nargs="+",
                            choices=[name[:2] for name in load_outputs().appendices])])
    yield ("run-notebook", commands.run_notebook, "Execute one notebook of a study into its run folder.",
           [_argument("notebook", "such as 02_train"), _argument("out", "the executed copy", type=Path),
            _argument("-p --parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))])
    yield "report", commands.report, "Write a study's report: one self-contained page.", [_RUN]
    yield ("site", commands.site, "Write the study as one static site: claims, notebooks, documents, search.", [
        _option("--run", "a study of phantoms below runs/; empty: the published one", ""),
        _option("--out", "folder, which is replaced", Path("site"))])
    yield ("crate", commands.crate, "Describe a run folder as a Workflow Run RO-Crate.", [
        _argument("run", "name of the folder below runs/")])
    yield "publish", commands.publish, "Copy a phantom run's figures, tables and notebooks here.", [_RUN]


def _pairs() -> Iterator[Command]:
    flagged = {"dest": "flagged", "action": "store_const"}
    yield ("export", commands.export, "Write a run's synthetic pairs as 16-bit PNGs.", [
        _RUN,
        _option("--leave-out-flagged", "leave out pairs that may repeat a training pair; without an option they stop "
                "the export", argparse.SUPPRESS, const="leave out", **flagged),
        _option("--include-flagged", "write all pairs, also those that may repeat one", argparse.SUPPRESS,
                const="include", **flagged)])
    yield ("complete", commands.complete, "Draw the missing view of breasts of which one is there, as 16-bit PNGs.", [
        _argument("source", "manifest in which breasts lack a view; or a folder of <name>_CC.png or <name>_MLO.png as "
                  "the study's preprocessing makes them", type=Path),
        _option("--run", "study whose preprocessing and model are used", "laptop"),
        _option("--encoding", "whose model draws; all: the study's first", "all"),
        _option("--draws", "views a breast", 1),
        _option("--out", "folder; default: runs/RUN/completed/SOURCE", type=Path),
        _switch("--resize", "bring a folder's views of another size to the study's")])
    yield ("score", commands.score, "Score a folder of pairs, yours or a rival's, against a study's real pairs.", [
        _argument("pairs", "folder of <name>_CC.png and <name>_MLO.png, or a .npy (N, 2, H, W)", type=Path),
        _option("--run", "study whose real pairs and protocol are used", "laptop"),
        _option("--name", "what the pairs are called in the result", "candidate", dest="label"),
        _option("--out", "folder; default: runs/RUN/scores/NAME", type=Path),
        _option("--patients", "CSV with a column patient, one row a pair in the same order; default: each pair is a "
                "patient", type=Path),
        _switch("--resize", "bring pairs of another size to the study's"),
        _switch("--check", "PAIRS is a folder that this command wrote: only compare its tables with their digests")])


def _readers() -> Iterator[Command]:
    yield ("build", commands.reader_study, "write the page, and the key apart from it", [
        _RUN, _option("--out", "folder for reader_study.html and key/key.json", type=Path, required=True),
        _option("--pairs", "different pairs, half of them real", 60),
        _option("--repeats", "pairs that are shown twice, at most a third", 12),
        _option("--seed", "of choice and order; default: the study's own", type=int),
        _option("--sets", "synthetic sets; default: all of the study", nargs="+", choices=THIRD_CHANNELS),
        _option("--floor", "share of the grey range drawn black in every view", 0.05)])
    yield ("score", commands.reader_study, "score the files that readers saved", [
        _argument("results", "one file a reader", nargs="+", type=Path, metavar="RESULT.json"),
        _option("--key", "key.json that was written with the page", type=Path, required=True),
        _option("--out", "folder for tables and figure; default: scores beside key/", type=Path)])


def _data() -> Iterator[Command]:
    yield ("phantom", commands.phantom, "Write the paired phantom cohort as DICOM, with its truth and manifest.", [
        _option("--profile", "whose phantom_pairs and phantom_seed are used", "laptop"),
        _option("--pairs", "usable pairs, instead of the profile's", type=int),
        _option("--seed", "seed of the cohort, instead of the profile's", type=int),
        _option("--out", "folder; default: data/phantom-PAIRS-SEED", type=Path),
        _option("--manifest", "manifest to write; default: the profile's own", type=Path),
        _switch("--overwrite", "replace a manifest that differs")])
    yield ("manifest", commands.manifest, "Write the manifest of an archive, from its own index and layout.", [
        _argument("source", choices=["vindr", "rsna", "cbis", "cmmd", "inbreast", "embed", "csaw", "folder"]),
        _argument("root", "the archive's folder", type=Path),
        _option("--out", "manifest, in ROOT or above it; default: ROOT/manifest.csv", type=Path),
        _option("--heldout-fraction", "share of patients that training never sees", 0.5),
        _option("--seed", "of the split and of the numbering", 0),
        _option("--secret-file", "makes pseudonyms keyed digests, not numbers", type=Path),
        _switch("--archive-split", "use the archive's own split; its test is held out"),
        _switch("--implied-negatives", "embed: findings in one breast of a bilateral exam grade the other one 1"),
        _switch("--overwrite", "replace a manifest that differs"),
        _switch("--check", "then read every image and report on its quality; a manifest that is there already is "
                "checked as it is"),
        _option("--profile", "whose for_processing and image_size --check reads with", "laptop")])
    yield ("real-pairs", commands.real_pairs, "Fetch eight public films; preprocess and outline their pairs.", [
        _option("--run", "name of the folder below runs/", "real-pairs")])
    yield ("reference-cdf", commands.reference_cdf, "Average a manifest's training images to a reference CDF.", [
        _argument("manifest", type=Path),
        _argument("out", "JSON file; name it as reference_cdf in a profile", type=Path),
        _option("--name", "what the reference was taken from", "own archive"),
        _option("--profile", "whose choice and way of reading images are used", "laptop")])


def _models() -> Iterator[Command]:
    study = [_PROFILE, _MANIFEST, _NAME, _option("--encoding", "sum, absdiff, zero, or all of the study's", "all")]
    yield "train", commands.train, "Fine-tune a study's encodings, on several GPUs under `accelerate launch`.", study
    yield "sample", commands.sample, "Draw a study's pairs, on several GPUs under `accelerate launch`.", study
    yield ("base-model", commands.base_model, "Pretrain the small base on phantom views put together at random.", [
        _option("--out", "pipeline folder to write", Path("models/phantom-base-64")),
        _option("--work", "checkpoints; continues from them", Path("runs/phantom-base-64")),
        _option("--breasts", "phantom breasts, two views each; 144 are held out", 6144),
        _option("--steps", "optimiser steps of 16 images", 4000), _option("--seed", None, 64)])


if __name__ == "__main__":
    sys.exit(main())
