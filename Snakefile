"""The study as a graph: one rule a notebook, 02 and 03 once per encoding.

Each rule declares its executed notebook alone. It is written last and atomically, so a failed or killed
job never takes the data of a stage with it, and a repeated stage continues from what it left.
Called by `mammorgb reproduce`, with the run folder as working directory.
"""

import hashlib
import sys
from pathlib import Path

from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol.load(config["profile"])
NOTEBOOKS = Path(workflow.basedir) / "notebooks"
RUN = "{sys.executable} -m mammorgb_utils.cli run-notebook"
STUDY = "-p run {config[run]:q} -p profile {config[profile]:q} -p manifest {config[manifest]:q}"


def source(name, *code, data=()):
    """Content decides whether a notebook is executed again, not age: its own, and that of code without a store.

    01 to 03 keep what they computed, whatever the code is now; a change there asks for a new run name. So do the
    trials of the appendices. `data` are files of the run folder that come from outside, such as readers' answers.
    """
    files = [NOTEBOOKS / f"{name}.ipynb"]
    files += [file for pattern in code for file in sorted(Path(workflow.basedir).glob(pattern))]
    files += [file for pattern in data for file in sorted(Path.cwd().glob(pattern))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


wildcard_constraints:
    encoding="|".join(PROTOCOL.encodings),


rule all:
    input:
        "notebooks/05_stats.ipynb",


rule preprocess:
    output:
        "notebooks/01_preprocess.ipynb",
    params:
        source=source("01_preprocess"),
    threads: workflow.cores
    shell:
        RUN + " 01_preprocess {output:q} " + STUDY


# Three trainings at once would thrash the cores: each takes them all, or a GPU. A study of a few pairs
# spends its time on imports, so there a stage takes one core.
STAGE_CORES = workflow.cores if PROTOCOL.n_synthetic > 100 else 1


rule train:
    input:
        rules.preprocess.output,
    output:
        "notebooks/02_train_{encoding}.ipynb",
    params:
        source=source("02_train"),
    threads: STAGE_CORES
    resources:
        gpu=1,
    shell:
        RUN + " 02_train {output:q} " + STUDY + " -p encoding {wildcards.encoding}"


rule sample:
    input:
        rules.train.output,
    output:
        "notebooks/03_sample_{encoding}.ipynb",
    params:
        source=source("03_sample"),
    threads: STAGE_CORES
    resources:
        gpu=1,
    shell:
        RUN + " 03_sample {output:q} " + STUDY + " -p encoding {wildcards.encoding}"


rule metrics:
    input:
        expand("notebooks/03_sample_{encoding}.ipynb", encoding=PROTOCOL.encodings),
    output:
        "notebooks/04_metrics.ipynb",
    params:
        source=source("04_metrics", "mammorgb_utils/evaluation/**/*.py", "mammorgb_utils/reporting/**/*.py"),
    threads: workflow.cores
    shell:
        RUN + " 04_metrics {output:q} " + STUDY


rule stats:
    input:
        rules.metrics.output,
    output:
        "notebooks/05_stats.ipynb",
    params:
        source=source(
            "05_stats", "mammorgb_utils/evaluation/**/*.py", "mammorgb_utils/reporting/**/*.py", "claims.yaml"
        ),
    threads: workflow.cores
    shell:
        RUN + " 05_stats {output:q} " + STUDY


# The appendices are targets of their own: `make reproduce` never makes them.
JUDGED = ("mammorgb_utils/evaluation/**/*.py", "mammorgb_utils/reporting/**/*.py", "claims.yaml")


rule learning_rate:
    input:
        rules.preprocess.output,
    output:
        "notebooks/A1_learning_rate.ipynb",
    params:
        source=source("A1_learning_rate", *JUDGED),
    threads: workflow.cores
    resources:
        gpu=1,
    shell:
        RUN + " A1_learning_rate {output:q} " + STUDY


rule artefacts:
    input:
        expand("notebooks/03_sample_{encoding}.ipynb", encoding=PROTOCOL.encodings),
    output:
        "notebooks/A2_artefacts.ipynb",
    params:
        source=source("A2_artefacts", "benchmarks/results/artefact_detectors.csv", *JUDGED),
    threads: workflow.cores
    shell:
        RUN + " A2_artefacts {output:q} " + STUDY


rule preprocessing_variants:
    input:
        rules.preprocess.output,
    output:
        "notebooks/A3_preprocessing.ipynb",
    params:
        source=source("A3_preprocessing", *JUDGED),
    threads: workflow.cores
    resources:
        gpu=1,
    shell:
        RUN + " A3_preprocessing {output:q} " + STUDY


rule reader_study:
    input:
        expand("notebooks/03_sample_{encoding}.ipynb", encoding=PROTOCOL.encodings),
    output:
        "notebooks/A4_reader_study.ipynb",
    params:
        source=source("A4_reader_study", "mammorgb_utils/experiments/readers/*.py", *JUDGED,
                      data=("reader_study/results/*.json",)),
    threads: workflow.cores
    shell:
        RUN + " A4_reader_study {output:q} " + STUDY


rule third_channel:
    input:
        rules.preprocess.output,
    output:
        "notebooks/A5_third_channel.ipynb",
    params:
        source=source("A5_third_channel", *JUDGED),
    threads: workflow.cores
    resources:
        gpu=1,
    shell:
        RUN + " A5_third_channel {output:q} " + STUDY


rule samplers:
    input:
        "notebooks/02_train_sum.ipynb",
    output:
        "notebooks/A6_samplers.ipynb",
    params:
        source=source("A6_samplers", *JUDGED),
    threads: workflow.cores
    resources:
        gpu=1,
    shell:
        RUN + " A6_samplers {output:q} " + STUDY


rule appendices:
    input:
        rules.learning_rate.output,
        rules.artefacts.output,
        rules.preprocessing_variants.output,
        rules.reader_study.output,
        rules.third_channel.output,
        rules.samplers.output,
