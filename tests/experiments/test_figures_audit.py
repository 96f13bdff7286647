"""What the figure of matching and framing shows."""

import numpy as np
import pandas as pd
from drawn_figures import audit_tables, texts
from matplotlib.colors import to_hex

from mammorgb_utils.experiments.preprocessing.audit import figure
from mammorgb_utils.output import style


def test_the_audit_shows_pairs_beside_shuffled_ones_with_gain_spread_and_what_is_missing():
    audit, shuffled = audit_tables()
    audit.loc[audit["pair"] == "P9", ["iou", "cc_area", "mlo_area"]] = np.nan
    audit.loc[audit["pair"] == "P9", "excluded"] = "timeout"
    drawn = figure(audit, shuffled)
    assert len(drawn.axes) == 8 and "n = 29 pairs (1 excluded)" in texts(drawn)
    otsu_padded = drawn.axes[3]
    assert otsu_padded.get_title() == "Otsu mask,\npadded"
    own, others = (table.set_index(["match_scope", "aspect", "mask_method"]).loc[("image", "pad", "otsu")]
                   for table in (audit, shuffled))
    gain = own["iou"].median() - others["iou"].median()
    before, after, _ = (label.get_text() for label in otsu_padded.get_xticklabels())
    assert before.endswith("(2 empty)") and after == f"whole\nimage\n{gain:+.2f}"
    filled = [to_hex(body.get_facecolor()[0]).upper() for body in otsu_padded.collections]
    assert filled == [style.BAND, style.COLOURS["real"]] * 3
    areas = 100 * pd.concat([own["cc_area"], own["mlo_area"]])
    assert drawn.axes[7].get_xticklabels()[1].get_text().endswith(f"SD {areas.std():.1f}")


def test_the_audit_without_spread_or_masks_shows_what_it_has():
    audit, shuffled = audit_tables(n=3)
    empty = audit["mask_method"] == "otsu"
    audit.loc[empty, ["iou", "cc_area", "mlo_area"]] = np.nan, 0.0, 0.0
    drawn = figure(audit.assign(iou=audit["iou"].where(empty, 0.8)), shuffled.iloc[:0])
    assert drawn.axes[2].get_xticklabels()[1].get_text() == "whole\nimage\n(3 empty)"
    assert not drawn.axes[0].collections
