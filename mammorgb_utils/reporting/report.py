"""The report of a study: one self-contained page with claims, figures, tables, protocol, data flow and provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mammorgb_utils.output.outputs import Figure, load_outputs, missing_files
from mammorgb_utils.output.pages import page_picture, page_table, write_page
from mammorgb_utils.output.records import CHANGED, FOREIGN, UNRECORDED, state
from mammorgb_utils.reporting import provenance
from mammorgb_utils.reporting.claims import cohort_source
from mammorgb_utils.reporting.ledger import CLAIMS, LEDGER, claims_ledger
from mammorgb_utils.reporting.score_folder import score_rows
from mammorgb_utils.runs import Run, read_table


def write_report(run: Run) -> Path:
    """Write `runs/<name>/report.html`; what the study doesn't hold yet is named as missing.

    A figure or table that was changed since it was written, or is of another study, isn't shown: its place says so.
    The page loads nothing from elsewhere and needs no scripts.
    """
    executed = provenance.stages(run.root)
    items = [_item(run, kind, name, entry) for kind in ("figures", "tables")
             for name, entry in getattr(load_outputs(), kind).items()]
    present = [item for item in items if item["path"].is_file()]
    page = {"name": run.root.name, "protocol": run.protocol, "claims": claim_articles(claims_ledger(run.tables)),
            "source": cohort_source(run) if run.pairs_index.is_file() else "unknown",
            "sections": _sections(present, executed), "missing": _missing(run, items),
            "fields": provenance.protocol_rows(run.protocol), "flow": provenance.data_flow(run),
            "scores": score_rows(run),
            "stages": page_table(provenance.stage_table(executed)),
            "minutes": sum(stage.minutes for stage in executed if stage.minutes == stage.minutes),
            "versions": page_table(provenance.version_table(executed)),
            "digests": page_table(provenance.digest_table(run)),
            "refused": [item | ({"anchor": "claims"} if item["name"] in (CLAIMS, LEDGER) else {})
                        for item in present if item["refused"]],
            "unrecorded": [item for item in present if item["unrecorded"]]}
    return write_page(run.root / "report.html", "report.html", **page)


def _item(run: Run, kind: str, name: str, entry: Figure) -> dict[str, Any]:
    path = run.root / kind / f"{name}.{'png' if kind == 'figures' else 'csv'}"
    found = state(path) if path.is_file() else ""
    return {"kind": kind, "name": name, "stage": entry.notebook, "path": path, "state": found, "caption": entry,
            "anchor": f"{kind[:-1]}-{name}", "refused": found in (CHANGED, FOREIGN), "unrecorded": found == UNRECORDED}


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its picture or table; neither where it is refused, or is no table."""
    shown = item | {"picture": None, "table": None}
    if item["refused"]:
        return shown
    if item["kind"] == "figures":
        return shown | {"picture": page_picture(item["path"])}
    try:
        return shown | {"table": page_table(read_table(item["path"]), list(item["caption"].columns))}
    except (ValueError, OSError):  # empty, or no CSV
        return shown


def _sections(items: list[dict[str, Any]], executed: list[provenance.Stage]) -> list[dict[str, Any]]:
    """Figures and tables by the notebook that made them; the claims stand first on the page, not here."""
    sections = []
    for stage, notebook in load_outputs().notebooks.items():
        own = [_shown(item) for item in items if item["stage"] == stage and item["name"] not in (CLAIMS, LEDGER)]
        if own:
            about = next((found for found in executed if found.name.startswith(stage)), None)
            sections.append({"stage": stage, "title": about.title if about and about.title else stage,
                             "question": about.question if about else "", "items": own,
                             "beyond": notebook.beyond})
    return sections


def _missing(run: Run, items: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Stages of the study that aren't finished, and appendices that weren't run or lack something."""
    appendices = [stage for stage in load_outputs().appendices
                  if any(item["stage"] == stage and not item["path"].is_file() for item in items)]
    return {"study": sorted(set(missing_files(run.root).values())), "appendices": appendices}


def claim_articles(ledger: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of `claims_ledger` for a page, each with a word for its colour."""
    kinds = {"reproduced": "good", "not reproduced": "bad"}
    return [row | {"kind": kinds.get(row["verdict"].removesuffix(" on phantoms"), "open")}
            for row in ledger.to_dict("records")]
