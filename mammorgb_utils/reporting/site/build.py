"""Which pages the site has, and where each of their links leads."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, NavigableString, Tag

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.output.pages import render
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims import cohort_source
from mammorgb_utils.reporting.ledger import claims_ledger
from mammorgb_utils.reporting.report import claim_articles
from mammorgb_utils.reporting.site.render import code_styles, markdown_html, notebook_html, title_of
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError

_TEMPLATES = Path(__file__).parents[1] / "templates"
_MARK = Path("assets", "search.js")  # of a site
_HEADINGS = ("h1", "h2", "h3")
_SHOWN = 3000  # characters of a section that the search knows


@dataclass
class Page:
    """A page of the site, and the file of the repository that it shows."""

    place: str  # such as docs/score.html
    source: str  # such as docs/score.md
    group: str
    body: BeautifulSoup
    title: str
    pictures: dict[str, bytes] = field(default_factory=dict)

    def way_to(self, place: str) -> str:
        """The relative link from this page."""
        return relpath(place, dirname(self.place) or ".")


def build_site(out: Path, run: Run | None = None) -> Path:
    """Write the site: README, claims, executed notebooks, documents; what was there before is replaced.

    Args:
        out: Its folder.
        run: The study whose notebooks and claims it shows; None: the published ones.

    Returns:
        The first page.

    Raises:
        RunError: The study was made from patients' images, which no site shows, or the folder holds something else.
    """
    if run and (source := cohort_source(run)) != "phantom":
        raise RunError(f"runs/{run.root.name} was made from {source}: patient data isn't made a site; its report.html "
                       "is for those who may see it")
    if out.exists() and not (out / _MARK).is_file():
        raise RunError(f"{out.name} holds something else than a site; name another folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    pages = [*_start(run), *_chapters(run), *_documents()]
    leads = {page.source: page.place for page in pages}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        root = Path(temporary) / out.name
        for page in pages:
            _number_headings(page.body)
            _lay_links(page, leads, root)
        for page in pages:
            _write_page(page, pages, root)
        _write_assets(pages, root)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(root, out)
    return out / pages[0].place


def _start(run: Run | None) -> Iterator[Page]:
    """The front page, and the claims."""
    yield _document("README.md", "index.html", "Start")
    articles = claim_articles(claims_ledger(run.tables if run else PROJECT_ROOT / "figures"))
    body = BeautifulSoup(render("claims_page.html", claims=articles), "html.parser")
    yield Page("claims.html", "claims", "Start", body, "Claims")


def _chapters(run: Run | None) -> Iterator[Page]:
    """Every notebook of the list as it was executed; as it stands in the repository where it wasn't."""
    folder = run.root / "notebooks" if run else PROJECT_ROOT / "notebooks" / "executed"
    encodings = run.protocol.encodings if run else Protocol().encodings
    for name, notebook in sorted(load_outputs().notebooks.items()):
        for stage in notebook.stages(name, encodings):
            file = folder / f"{stage}.ipynb"
            body, pictures = notebook_html(file if file.is_file() else PROJECT_ROOT / "notebooks" / f"{name}.ipynb")
            title = title_of(body, name) + (f", {stage.rpartition('_')[2]}" if notebook.each else "")
            if not file.is_file():
                body.insert(0, BeautifulSoup(render("not_executed.html", name=name), "html.parser"))
            group = "Chapters" if name[0].isdigit() else "Appendices"
            source = f"notebooks/{name}.ipynb" if stage in (name, f"{name}_{encodings[0]}") else f"notebooks/{stage}"
            yield Page(f"notebooks/{stage}.html", source, group, body, title, pictures)


def _documents() -> Iterator[Page]:
    for path in [*sorted((PROJECT_ROOT / "docs").glob("*.md")), PROJECT_ROOT / "CONTRIBUTING.md"]:
        name = str(path.relative_to(PROJECT_ROOT))
        yield _document(name, name.removesuffix(".md") + ".html", "Documents")


def _document(source: str, place: str, group: str) -> Page:
    body = markdown_html((PROJECT_ROOT / source).read_text(encoding="utf-8"))
    return Page(place, source, group, body, title_of(body, source))


def _number_headings(body: Tag) -> None:
    """Give each heading the anchor that a link in a document names it by."""
    taken: dict[str, int] = {}
    for heading in body.find_all([*_HEADINGS, "h4"]):
        name = heading.get("id") or re.sub(r"[^\w\- ]", "", heading.get_text().strip().lower()).replace(" ", "-")
        taken[name] = taken.get(name, -1) + 1
        heading["id"] = f"{name}-{taken[name]}" if taken[name] else name


def _lay_links(page: Page, leads: dict[str, str], root: Path) -> None:
    """Lead links between files to pages; bring along what else they name, and drop those to what the site hasn't."""
    for tag, attribute in [*((a, "href") for a in page.body.find_all("a", href=True)),
                           *((img, "src") for img in page.body.find_all("img", src=True))]:
        parts = urlsplit(tag[attribute])
        if parts.scheme or not parts.path or unquote(parts.path) in page.pictures:
            continue
        target = normpath(join(dirname(page.source), unquote(parts.path)))
        anchor = f"#{parts.fragment}" if parts.fragment else ""
        if target in leads:
            tag[attribute] = page.way_to(leads[target]) + anchor
        elif (PROJECT_ROOT / target).is_file() and not target.startswith(".."):
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT_ROOT / target, root / target)
            tag[attribute] = page.way_to(target)
        else:
            tag.name, tag.attrs = "span", {"title": f"{target}, in the repository"}


def _write_page(page: Page, pages: list[Page], root: Path) -> None:
    place = pages.index(page)
    groups = {group: [(other.title, page.way_to(other.place), other is page) for other in pages if other.group == group]
              for group in dict.fromkeys(other.group for other in pages)}
    near = [(pages[i].title, page.way_to(pages[i].place)) if 0 <= i < len(pages) else None
            for i in (place - 1, place + 1)]
    sections = [(heading.get_text(), heading["id"]) for heading in page.body.find_all("h2")]
    file = root / page.place
    for name, content in page.pictures.items():
        (file.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (file.parent / name).write_bytes(content)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render("site.html", title=page.title, top=page.way_to("."), groups=groups, near=near,
                           sections=sections, body=str(page.body)), encoding="utf-8")


def _write_assets(pages: Iterable[Page], root: Path) -> None:
    (root / "assets").mkdir()
    style = (_TEMPLATES / "site.css").read_text(encoding="utf-8") + code_styles()
    (root / "assets" / "site.css").write_text(style, encoding="utf-8")
    shutil.copyfile(_TEMPLATES / "site.js", root / "assets" / "site.js")
    index = [{"page": page.title, "to": f"{page.place}#{anchor}" if anchor else page.place, "title": title,
              "text": text} for page in pages for title, anchor, text in _sections(page.body)]
    # A script, as a page that was opened as a file may read no JSON.
    (root / _MARK).write_text(f"window.INDEX = {json.dumps(index)};\n", encoding="utf-8")


def _sections(body: Tag) -> Iterator[tuple[str, str, str]]:
    """Heading, anchor and text of each part of a page."""
    title, anchor, words = "", "", []
    for part in body.descendants:
        if isinstance(part, Tag) and part.name in _HEADINGS:
            if words:
                yield title, anchor, " ".join(words)[:_SHOWN]
            title, anchor, words = part.get_text(), part["id"], []
        elif type(part) is NavigableString and part.strip() and part.find_parent(["style", *_HEADINGS]) is None:
            words += part.split()
    yield title, anchor, " ".join(words)[:_SHOWN]
