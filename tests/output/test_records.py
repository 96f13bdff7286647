"""Records: a table is written and noted in one step, and what was changed after that is found."""

import pandas as pd
import pytest

from mammorgb_utils.output.records import AS_WRITTEN, require_unchanged, state, write_metric
from mammorgb_utils.runs import write_json

FRAME = pd.DataFrame({"set": ["sum"], "value": [0.5]}, index=[7])


def test_a_metric_is_recorded_as_it_is_written(tmp_path):
    write_json(tmp_path / "protocol.json", {})
    file = tmp_path / "metrics" / "overlap.csv"
    write_metric(file, FRAME)
    assert file.read_text() == "set,value\nsum,0.5\n" and state(file) == AS_WRITTEN
    file.write_text("set,value\nsum,0.6\n")
    with pytest.raises(ValueError, match="metrics/overlap.csv is changed since it was written; remove it and run 04"):
        require_unchanged(file, "04")
    write_metric(file, FRAME)
    require_unchanged(file, "04")
    file.unlink()
    with pytest.raises(ValueError, match="metrics/overlap.csv isn't there yet; run notebook 04 first"):
        require_unchanged(file, "04")
