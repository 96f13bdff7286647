"""A run folder as a Workflow Run RO-Crate: what was run, when, on what, and what came of it, for machines."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.output.records import read_json
from mammorgb_utils.reporting.claims import cohort_source
from mammorgb_utils.reporting.provenance import Stage, stages
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError, write_json

NAME = "ro-crate-metadata.json"
_PROFILES = {"https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
             "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
             "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate"}
_KINDS = {".png": "image/png", ".pdf": "application/pdf", ".csv": "text/csv", ".tex": "application/x-tex",
          ".ipynb": "application/x-ipynb+json", ".html": "text/html", ".json": "application/json"}
_WORKFLOW = ("Snakefile", "outputs.yaml", "claims.yaml", "requirements.lock")  # and the notebooks
_DONE = "http://schema.org/CompletedActionStatus"
_LICENSE = "https://www.apache.org/licenses/LICENSE-2.0"


def write_crate(run: Run) -> Path:
    """Write `runs/<name>/ro-crate-metadata.json` from the records of a run, and the workflow that it speaks of.

    It names figures, tables, executed notebooks and report, each with its caption, and every stage with its times. Of
    the cohort it knows the manifest's digest alone.

    Raises:
        RunError: No stage is finished yet.

    Source:
        Workflow Run Crate 0.5, https://w3id.org/ro/wfrun/workflow.
    """
    done = stages(run.root)
    if not done:
        raise RunError(f"runs/{run.root.name} has no executed notebook yet; run `make reproduce RUN={run.root.name}`")
    crate = ROCrate(version="1.1")
    _describe(crate, run, done)
    workflow = _workflow(crate, run, done)
    results = [crate.add_file(dest_path=place, properties=about) for place, about in _results(run)]
    inputs = _parameters(crate, workflow, run, results)
    action = crate.add_action(workflow, "#study", object=inputs, result=results, properties={
        "name": f"Study {run.root.name}", "description": f"its finished stages, on {_fact(done, 'machine')}",
        "actionStatus": _DONE, **_times(done)})
    crate.root_dataset.append_to("mentions", action)
    for stage in done:
        _stage(crate, stage)
    write_json(run.root / NAME, crate.metadata.generate())
    return run.root / NAME


def _describe(crate: ROCrate, run: Run, done: list[Stage]) -> None:
    """The folder as a whole, without a person's name."""
    source = cohort_source(run) if run.pairs_index.is_file() else "unknown"
    crate.name = f"MammoRGB study {run.root.name}"
    crate.description = f"An executed study of profile {run.protocol.profile}; cohort: {source}. " + (
        "Every result speaks of phantoms, not of patients." if source == "phantom" else "Patient data: do not share.")
    crate.datePublished = max(stage.ended for stage in done) or None
    address, terms = (_LICENSE, "Apache-2.0") if source == "phantom" else ("#terms", "Not to be shared: patient data")
    crate.license = crate.add(ContextEntity(crate, address, properties={
        "@type": "CreativeWork", "name": terms, "description": "of everything in this folder"}))
    profiles = [crate.add(ContextEntity(crate, address, properties={
        "@type": "CreativeWork", "name": name, "version": address.rpartition("/")[2]}))
        for address, name in _PROFILES.items()]
    crate.root_dataset.append_to("conformsTo", profiles)


def _workflow(crate: ROCrate, run: Run, done: list[Stage]) -> Entity:
    """The graph of notebooks and what they need, copied beside what they made; its version is the stages' commit."""
    sources = [*(PROJECT_ROOT / name for name in _WORKFLOW), *sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))]
    for file in sources:
        target = run.root / "workflow" / file.relative_to(PROJECT_ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    workflow = crate.add_workflow(dest_path="workflow/Snakefile", main=True, lang="snakemake", properties={
        "name": "MammoRGB study", "description": "Notebooks from DICOM files to claims, scheduled by Snakemake",
        "version": _fact(done, "commit"), "encodingFormat": "text/plain",
        "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"}})
    code = {"@type": ["File", "SoftwareSourceCode"], "version": workflow["version"]}
    parts = {file: crate.add_file(dest_path=f"workflow/{file.relative_to(PROJECT_ROOT)}", properties={
        "name": file.name, "encodingFormat": _KINDS.get(file.suffix, "text/plain"),
        **(code if file.suffix == ".ipynb" else {})}) for file in sources[1:]}
    workflow["softwareRequirements"] = parts[PROJECT_ROOT / "requirements.lock"]
    workflow["hasPart"] = [part for file, part in parts.items() if file.suffix == ".ipynb"]
    return workflow


def _fact(done: list[Stage], name: str) -> str:
    """What the stages printed of a fact of their provenance; several where they differ."""
    return ", ".join(dict.fromkeys(stage.facts[name] for stage in done if name in stage.facts)) or "unknown"


def _results(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the study shows and has: figures and tables with their captions, executed notebooks, the report."""
    outputs = load_outputs()
    for kind in ("figures", "tables"):
        for name, entry in getattr(outputs, kind).items():
            for path in sorted((run.root / kind).glob(f"{name}.*")):
                yield f"{kind}/{path.name}", _about(path, entry.title, entry.caption)
    for path in sorted((run.root / "notebooks").glob("*.ipynb")):
        if not path.name.endswith(".failed.ipynb"):
            yield f"notebooks/{path.name}", _about(path, path.stem, "executed notebook")
    if (run.root / "report.html").is_file():
        yield "report.html", _about(run.root / "report.html", "Report", "one page with all of the study")


def _about(path: Path, name: str, description: str) -> dict[str, Any]:
    return {"name": name, "description": description, "encodingFormat": _KINDS.get(path.suffix, "text/plain"),
            "contentSize": str(path.stat().st_size)}


def _parameters(crate: ROCrate, workflow: Entity, run: Run, results: list[Entity]) -> list[Entity]:
    """What went in, each with the slot of the workflow that it fills: the protocol, and the manifest by its digest."""
    protocol = crate.add_file(dest_path="protocol.json", properties={
        "name": "Protocol", "description": "every choice of the study", "encodingFormat": "application/json"})
    manifest = crate.add(ContextEntity(crate, "#manifest-digest", properties={
        "@type": "PropertyValue", "name": "SHA-256 of the manifest",
        "value": read_json(run.root / "protocol.json").get("manifest_sha256", "unknown")}))
    ledger = [entity for entity in results if entity.id == "tables/claims_ledger.csv"]
    for slot, value, kind, way in (("protocol", protocol, "File", "input"), ("manifest", manifest, "Text", "input"),
                                   *(("claims", entity, "File", "output") for entity in ledger)):
        parameter = crate.add_formal_parameter(slot, kind, f"#{slot}", properties={"workExample": value})
        value["exampleOfWork"] = parameter
        workflow.append_to(way, parameter)
    return [protocol, manifest]


def _stage(crate: ROCrate, stage: Stage) -> None:
    """One executed notebook as an action; of one that the project no longer has, its result alone is known."""
    source = next((part for part in crate.mainEntity["hasPart"] if stage.name.startswith(Path(part.id).stem)), None)
    if source is None:
        return
    action = crate.add_action(source, f"#{stage.name}", result=crate.get(f"notebooks/{stage.name}.ipynb"), properties={
        "name": stage.title or stage.name, "description": stage.question or stage.name, "actionStatus": _DONE,
        **_times([stage])})
    crate.root_dataset.append_to("mentions", action)


def _times(done: list[Stage]) -> dict[str, str]:
    """When the first of some stages began and the last one ended, as far as they tell."""
    times = {"startTime": min((stage.began for stage in done if stage.began), default=""),
             "endTime": max((stage.ended for stage in done if stage.ended), default="")}
    return {name: value for name, value in times.items() if value}
