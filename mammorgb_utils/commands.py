"""What the commands of `mammorgb` do; rooms are imported when a command needs them, as torch takes seconds."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mammorgb_utils.output.outputs import forget_lost_stages, load_outputs
from mammorgb_utils.progress import noted
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError, atomic_path, exclusive
from mammorgb_utils.scheduling import run_snakemake, working_in


def reproduce(options: argparse.Namespace) -> None:
    """Make the phantom cohort if it is asked for, open the run folder, let Snakemake do what isn't done."""
    run, manifest = _study(options)
    with exclusive(run.root, wait=0):
        forget_lost_stages(run.root)
        run_snakemake(run, options, manifest)
        _report_on(run)


def appendices(options: argparse.Namespace) -> None:
    """Run the appendices, or some of them; finished trainings are loaded, a killed call continues."""
    name = options.run or Protocol.load(options.profile).profile
    if not (PROJECT_ROOT / "runs" / name / "pairs" / "index.csv").is_file():
        raise RunError(f"runs/{name} has no pairs yet; run `make reproduce RUN={name}` first, at least its notebook 01")
    run, manifest = _study(options)
    chosen = [stage for stage in load_outputs().appendices if not options.only or stage[:2] in options.only]
    with exclusive(run.root, wait=0):
        for stage in chosen:
            if any(not (run.root / file).is_file() for file in load_outputs().files([stage])):
                (run.root / "notebooks" / f"{stage}.ipynb").unlink(missing_ok=True)
        run_snakemake(run, options, manifest, [f"notebooks/{stage}.ipynb" for stage in chosen])
        if gathered := _gathering(run):
            run_snakemake(run, options, manifest, gathered)
        _report_on(run)


def _study(options: argparse.Namespace) -> tuple[Run, str]:
    """A study's run folder and manifest, after all that can be told before its first notebook; phantoms are made."""
    from mammorgb_utils.beforehand import require_feasible
    from mammorgb_utils.data.manifest import load_manifest, require_files
    from mammorgb_utils.data.phantom import write_study_cohort

    protocol = Protocol.load(options.profile)
    if not options.manifest:
        require_feasible(protocol, None, PROJECT_ROOT / "runs" / (options.run or protocol.profile))
    manifest = options.manifest or str(write_study_cohort(protocol).relative_to(PROJECT_ROOT))
    asked = options.run or protocol.profile, options.profile, manifest
    run = Run.asked(*asked)
    frame = load_manifest(run.manifest)
    require_files(frame, run.manifest.parent)
    require_feasible(run.protocol, frame, run.root)
    return Run.open(*asked), manifest


def _recorded_study(options: argparse.Namespace) -> Run:
    """The run folder of `reproduce` with the same options, whose images may lie on another machine."""
    from mammorgb_utils.data.phantom import cohort_places

    protocol = Protocol.load(options.profile)
    manifest = options.manifest or str(cohort_places(protocol)[1].relative_to(PROJECT_ROOT))
    return Run.open(options.run or protocol.profile, options.profile, manifest)


def _gathering(run: Run) -> list[str]:
    """The notebooks that read the appendices' tables, where all that they need besides is there."""
    outputs, encodings = load_outputs(), run.protocol.encodings
    return [f"notebooks/{name}.ipynb" for name, notebook in outputs.notebooks.items() if "appendices" in notebook.reads
            and all((run.root / file).is_file() for need in notebook.needs
                    for file in outputs.executed(need, encodings))]


def _report_on(run: Run) -> None:
    """The page over all that a run folder holds by now, and the claims as they stand."""
    from mammorgb_utils.reporting.ledger import claims_text
    from mammorgb_utils.reporting.report import write_report

    report = write_report(run) if run.pairs_index.is_file() else None
    if claims := claims_text(run.tables, shutil.get_terminal_size().columns):
        print(f"\n{claims}\n")
    print(f"Done: runs/{run.root.name}/figures, runs/{run.root.name}/tables, runs/{run.root.name}/notebooks")
    if report:
        print(f"Report: runs/{run.root.name}/{report.name}")


def phantom(options: argparse.Namespace) -> None:
    """Write a phantom cohort; a finished one is left as it is."""
    from mammorgb_utils.data.phantom import write_study_cohort

    protocol = Protocol.load(options.profile)
    changes = {"phantom_pairs": options.pairs, "phantom_seed": options.seed}
    protocol = protocol.changed(**{key: value for key, value in changes.items() if value is not None})
    manifest = write_study_cohort(protocol, options.out, options.manifest, overwrite=options.overwrite)
    print(f"{manifest}")


def manifest(options: argparse.Namespace) -> None:
    """Write an archive's manifest, and check its images if that is asked for; only counts are printed."""
    out = Path(os.path.abspath(options.out or options.root / "manifest.csv"))
    protocol = Protocol.load(options.profile)
    if options.check and out.is_file() and not options.overwrite:
        print(f"{out.name} is there already and checked as it is; --overwrite writes it anew")
    else:
        _write_manifest(options, out)
    if options.check:
        from mammorgb_utils.reporting.quality_report import quality_folder, report_quality

        print("\n".join(report_quality(out, protocol)))
        print(f"Report: {quality_folder(out) / 'report.html'}")


def _write_manifest(options: argparse.Namespace, out: Path) -> None:
    from mammorgb_utils.data.archives import build_manifest
    from mammorgb_utils.data.archives.pseudonyms import read_secret

    secret = read_secret(options.secret_file) if options.secret_file else None
    summary = build_manifest(options.source, options.root, out, heldout_fraction=options.heldout_fraction,
                             seed=options.seed, secret=secret, archive_split=options.archive_split,
                             implied_negatives=options.implied_negatives, overwrite=options.overwrite)
    print("\n".join(summary.lines()))


def real_pairs(options: argparse.Namespace) -> None:
    """Install eight public films, run notebook 01 on their four pairs, and draw the breasts' outlines."""
    from mammorgb_utils.data.archives.real_pairs import install_films
    from mammorgb_utils.data.pairs import load_pairs
    from mammorgb_utils.evaluation.masks import breast_mask
    from mammorgb_utils.evaluation.masks.figures import outlined_pairs
    from mammorgb_utils.notebooks import execute_notebook

    manifest = install_films(PROJECT_ROOT / "data" / "real-pairs").relative_to(PROJECT_ROOT)
    run = Run.open(options.run, "real-pairs", str(manifest))
    with exclusive(run.root, wait=0):
        execute_notebook("01_preprocess", run.root / "notebooks" / "01_preprocess.ipynb",
                         {"run": options.run, "profile": "real-pairs", "manifest": str(manifest)})
    pairs, index = load_pairs(run, "all")
    method = run.protocol.mask_method
    masks = np.array([[breast_mask(view, method) for view in pair] for pair in pairs])
    with atomic_path(run.root / "figures" / "real_pairs.png") as temporary:
        outlined_pairs(pairs, masks, list(index["pair"]), method=method).savefig(temporary, dpi=200)
    print(f"{len(pairs)} real pairs: runs/{options.run}/figures/real_pairs.png")


def reference_cdf(options: argparse.Namespace) -> None:
    """Average a manifest's training images into a reference for histogram matching."""
    from mammorgb_utils.data.batch.reference import reference_from_manifest

    reference = reference_from_manifest(options.manifest, Protocol.load(options.profile), options.name)
    reference.save(options.out)
    print(f"{options.out}: average of {reference.n_images} images")


def base_model(options: argparse.Namespace) -> None:
    """Pretrain the small base model; a killed call continues."""
    from mammorgb_utils.data.base_views import HELDOUT_BREASTS, base_views, fingerprint
    from mammorgb_utils.diffusion.engine.pretrain import pretrain_base

    protocol = Protocol.load("laptop")
    views = base_views(options.breasts, options.seed, protocol, cache=options.work / "views.npy")
    pretrain_base(views[:-2 * HELDOUT_BREASTS], options.out, steps=options.steps, seed=options.seed,
                  work_dir=options.work, fingerprint=fingerprint(options.seed, protocol),
                  milestones=range(1000, options.steps + 1, 1000))


def train(options: argparse.Namespace) -> None:
    """Fine-tune a study's encodings, on all processes that a launcher started; notebook 02 then loads the models."""
    from mammorgb_utils.data.pairs import load_pairs
    from mammorgb_utils.diffusion.training import train as fine_tune
    from mammorgb_utils.experiments.learning_curve import moments

    run = _recorded_study(options)
    pairs, index = load_pairs(run, "train")
    for name in run.encodings(options.encoding):
        fine_tune(pairs, run.protocol, name, run.training(name), model_dir=run.model(name),
                  milestones=moments(run.protocol, len(pairs)), grades=index.get("density"))


def sample(options: argparse.Namespace) -> None:
    """Draw a study's synthetic pairs, on all processes that a launcher started; notebook 03 then loads them."""
    from mammorgb_utils.diffusion.engine.sample_store import sample_study

    run = _recorded_study(options)
    for name in run.encodings(options.encoding):
        sample_study(run.model(name), run.protocol, run.samples(name))


def run_notebook(options: argparse.Namespace) -> None:
    """Execute one notebook; the output file appears only when all cells succeeded."""
    from mammorgb_utils.notebooks import execute_notebook

    parameters = dict(options.parameter)
    root = PROJECT_ROOT / "runs" / parameters.get("run", "")
    with ExitStack() as stack:
        if root.is_dir():
            stack.enter_context(working_in(root))
            stack.enter_context(noted(root, options.out.stem))
        execute_notebook(options.notebook, options.out, parameters)


def export(options: argparse.Namespace) -> None:
    """Write a run's synthetic pairs as 16-bit PNGs; pairs that may repeat a training pair stop it, unless told."""
    from mammorgb_utils.output.export import export_run

    files = export_run(PROJECT_ROOT / "runs" / options.run, flagged=getattr(options, "flagged", "refuse"))
    for name, number in files.items():
        print(f"runs/{options.run}/export/{name}: {number} files")


def complete(options: argparse.Namespace) -> None:
    """Draw the missing view of breasts of which one is there; what is drawn is marked, and no manifest takes it."""
    from mammorgb_utils.output.completed import complete_run

    print("\n".join(complete_run(Run.recorded(options.run), options.source, encoding=options.encoding,
                                 draws=options.draws, out=options.out, resize=options.resize)))


def score(options: argparse.Namespace) -> None:
    """Score anyone's pairs against the real ones of a study, or check a score that was written."""
    from mammorgb_utils.data.pair_folder import load_pair_folder, load_patients, unread_files
    from mammorgb_utils.data.pairs import load_pairs, real_pairs
    from mammorgb_utils.evaluation.score import candidate_sets, score_tables
    from mammorgb_utils.reporting.score_folder import read_score, require_free, score_folder, write_score

    if options.check:
        card, facts = read_score(options.pairs)
        print(f"{facts['label']}: {facts['n_pairs']} pairs, {len(card)} figures, every table as it was written")
        return
    run = Run.recorded(options.run)
    folder = score_folder(run, options.label, options.out)
    pairs = load_pair_folder(options.pairs, size=run.protocol.image_size, resize=options.resize)
    if unread := unread_files(options.pairs) if options.pairs.is_dir() else []:
        print(f"{len(unread)} files were not read, such as {', '.join(unread[:5])}: views are named <name>_CC.png and "
              "<name>_MLO.png", file=sys.stderr)
    require_free(folder, pairs, run)
    patients = load_patients(options.patients, len(pairs)) if options.patients else None
    sets = candidate_sets(pairs, real_pairs(run), load_pairs(run, "train")[0], run.protocol, patients=patients)
    tables = score_tables(sets, lambda step: print(f"{step} …", file=sys.stderr, flush=True))
    print(write_score(run, folder, options.label, sets, tables, of_patients=patients is not None, n_unread=len(unread)))


def reader_study(options: argparse.Namespace) -> None:
    """Build the page for readers, or score their answers."""
    from mammorgb_utils.experiments.readers import build, score

    {"build": build, "score": score}[options.step].command(options)


def report(options: argparse.Namespace) -> None:
    """Write a study's report.html."""
    from mammorgb_utils.reporting.report import write_report

    print(write_report(Run.recorded(options.run)))


def site(options: argparse.Namespace) -> None:
    """Write the static site from the published study, or from one in runs/."""
    from mammorgb_utils.reporting.site import build_site

    print(build_site(PROJECT_ROOT / options.out, Run.recorded(options.run) if options.run else None))


def crate(options: argparse.Namespace) -> None:
    """Write ro-crate-metadata.json, and the workflow that it speaks of, into a run folder."""
    from mammorgb_utils.reporting.crate import write_crate

    print(write_crate(Run.recorded(options.run)))


def publish(options: argparse.Namespace) -> None:
    """Copy a phantom study's figures, tables and executed notebooks here, and fill the documents' tables from them."""
    from mammorgb_utils.reporting.documents import publish_study

    publish_study(options.run)
    print("Copied to figures/ and notebooks/executed/; the tables in README.md and docs/ are those of the files")
