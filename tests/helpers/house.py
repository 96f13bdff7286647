"""How much there is to read: `python tests/helpers/house.py` prints modules and lines of the library and its parts.

The walk is what a newcomer reads who follows one pair from its DICOM files to a row of the claims table: all modules
that those of `WALK` import. It stops at the machinery beside the method, which is named by what it does.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mammorgb_utils.output.used_code import PACKAGE, used_files
from mammorgb_utils.runs import PROJECT_ROOT

LIBRARY = PROJECT_ROOT / PACKAGE
CORE = ("diffusion.encoding", "diffusion.learning", "diffusion.training", "diffusion.sampling", "diffusion.randomness",
        "evaluation.masks.breast", "evaluation.masks.muscle", "evaluation.overlap.pairs",
        "evaluation.statistics.distances")
WALK = ("data.cohort", "data.pairs", "diffusion.training", "diffusion.sampling", "evaluation.sets",
        "evaluation.overlap.pairs", "evaluation.statistics.tables", "evaluation.consistency.pairing",
        "reporting.claims")
MACHINERY = ("diffusion.engine", "diffusion.completion", "diffusion.conditioning",
             "data.batch", "output", "yaml_files")


def modules(names):
    """The files of dotted names below the package."""
    return [LIBRARY / f"{name.replace('.', '/')}.py" for name in names]


def parts():
    """Each part of the house with its files."""
    return {"library": sorted(LIBRARY.rglob("*.py")), "core": modules(CORE),
            "walk": used_files(modules(WALK), stop=MACHINERY), "walk with machinery": used_files(modules(WALK))}


def count(files):
    """Modules, doors (`__init__.py`) not counted, and lines of all."""
    return (sum(path.name != "__init__.py" for path in files),
            sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files))


if __name__ == "__main__":
    for part, files in parts().items():
        print("{:<20} {:>4} modules {:>6,} lines".format(part, *count(files)))
    if "-v" in sys.argv:
        print(*(f"{count([path])[1]:>5}  {path.relative_to(LIBRARY)}" for path in parts()["walk"]), sep="\n")
