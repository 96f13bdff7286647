"""The study as a graph: one rule a notebook of outputs.yaml, those that run once per encoding with a wildcard.

Each rule declares its executed notebook alone. It is written last and atomically, so a failed or killed
job never takes the data of a stage with it, and a repeated stage continues from what it left.
Called by `mammorgb reproduce`, with the run folder as working directory.
"""

import sys
from pathlib import Path

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.output.used_code import source_digest
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol.load(config["profile"])
OUTPUTS = load_outputs()
NOTEBOOKS = OUTPUTS.notebooks


def needs(notebook):
    """What comes before a notebook: of an encoding's own where both run once per encoding."""
    for name in notebook.needs:
        if notebook.each and name in NOTEBOOKS and NOTEBOOKS[name].each:
            yield f"notebooks/{name}_{{encoding}}.ipynb"
        else:
            yield from OUTPUTS.executed(name, PROTOCOL.encodings)


wildcard_constraints:
    encoding="|".join(PROTOCOL.encodings),


rule all:
    input:
        OUTPUTS.study_notebooks(PROTOCOL.encodings),


# Targets of their own: `make reproduce` never makes them.
rule appendices:
    input:
        [f"notebooks/{name}.ipynb" for name in OUTPUTS.appendices],


for name, notebook in NOTEBOOKS.items():

    # Content decides whether a notebook is executed again, not age. A stage takes a GPU where there is one.
    rule:
        name:
            name.split("_", 1)[1]
        input:
            list(needs(notebook)),
        output:
            f"notebooks/{name}_{{encoding}}.ipynb" if notebook.each else f"notebooks/{name}.ipynb",
        params:
            notebook=name,
            encoding="-p encoding {encoding}" if notebook.each else "",
            sizes=notebook.parameters(PROTOCOL.profile),
            source=source_digest(name, Path.cwd()),
        threads: notebook.threads(len(PROTOCOL.encodings), workflow.cores)
        resources:
            **({"gpu": 1} if notebook.gpu else {}),
        shell:
            "{sys.executable:q} -m mammorgb_utils.cli run-notebook {params.notebook} {output:q} -p run {config[run]:q} "
            "-p profile {config[profile]:q} -p manifest {config[manifest]:q} {params.encoding} {params.sizes}"
