"""Names of the tables in `metrics/`."""

from pathlib import Path

from mammorgb_utils.output.outputs import load_outputs

METRICS = tuple(Path(file).stem for file in load_outputs().notebooks["04_metrics"].writes)
