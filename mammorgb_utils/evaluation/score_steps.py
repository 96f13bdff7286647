"""What a score measures beyond overlap: anatomy, matching, texture, artefacts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.anatomy.agreement import anatomy_table
from mammorgb_utils.evaluation.anatomy.matching import match_table
from mammorgb_utils.evaluation.anatomy.measure import anatomy, height_over_width
from mammorgb_utils.evaluation.artefacts.rates import artefact_flags, artefact_rates
from mammorgb_utils.evaluation.fidelity.memorisation import EITHER, HELDOUT, TRAIN, memorisation_table, nearest_training
from mammorgb_utils.evaluation.fidelity.metrics import fidelity_table
from mammorgb_utils.evaluation.fidelity.texture import texture_features
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.evaluation.sets import SETS, ScoredSets
from mammorgb_utils.evaluation.statistics import CANDIDATE

MAX_TRAIN = 1000  # training pairs that the match test learns from: more cost time alone
MATCH_AMONG = 5  # MLO views among which the card's match accuracy is
FIDELITY = ("kid", "coverage", "diversity")  # the metrics on the card
_LIKE_AREA = "strata"  # the null of strangers of like area and density

Tables = dict[str, pd.DataFrame]


def measure_anatomy(sets: ScoredSets, tables: Tables) -> Tables:
    """`anatomy` (a row a pair), `anatomy_consistency` and `match_test`, whose matcher learns from training pairs."""
    ratio = height_over_width(sets.protocol)
    own = pd.concat([_labelled(sets, name, anatomy(sets.pairs[name], sets.masks[name], ratio=ratio)) for name in SETS],
                    ignore_index=True)
    frames = [own]
    if len(train := np.asarray(sets.train[:MAX_TRAIN])):
        names = _training_names(len(train))
        learned = anatomy(train, pair_masks(train, sets.protocol.mask_method), ratio=ratio)
        frames.append(learned.assign(set=TRAIN, pair=names, patient=names))
    return {"anatomy": own, "anatomy_consistency": anatomy_table(own, sets.protocol),
            "match_test": match_table(pd.concat(frames, ignore_index=True), sets.protocol)}


def measure_texture(sets: ScoredSets, tables: Tables) -> Tables:
    """`fidelity` (distance of texture to real, coverage, diversity), and where the real pairs are held out of training
    also `nearest_training` (a row a pair) and `memorisation`, against the study's training pairs."""
    stand_in = sets.protocol.encodings[0]  # the table compares encodings with real: the candidate takes one's place
    texture = pd.concat([_labelled(sets, name, texture_features(sets.pairs[name], sets.masks[name])) for name in SETS],
                        ignore_index=True)
    table = fidelity_table(texture.replace({"set": {CANDIDATE: stand_in}}), list(sets.names["real"]),
                           sets.protocol.changed(encodings=(stand_in,)))
    found = {"fidelity": table.assign(set=CANDIDATE)}
    return found | (_memorised(sets) if len(sets.train) and sets.protocol.real_split == HELDOUT else {})


def _memorised(sets: ScoredSets) -> Tables:
    nearest = nearest_training({TRAIN: sets.train, HELDOUT: sets.pairs["real"], CANDIDATE: sets.pairs[CANDIDATE]},
                               {TRAIN: _training_names(len(sets.train)), HELDOUT: sets.names["real"],
                                CANDIDATE: sets.names[CANDIDATE]})
    return {"nearest_training": nearest, "memorisation": memorisation_table(nearest)}


def _training_names(n: int) -> list[str]:
    return [f"{TRAIN}-{i:05d}" for i in range(n)]


def measure_artefacts(sets: ScoredSets, tables: Tables) -> Tables:
    """`artefact_flags` (a row a pair) and `artefacts`, the rates."""
    flags = pd.concat([_labelled(sets, name, artefact_flags(sets.pairs[name], sets.masks[name])) for name in SETS],
                      ignore_index=True)
    return {"artefact_flags": flags, "artefacts": artefact_rates(flags)}


def _labelled(sets: ScoredSets, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(set=name, pair=sets.names[name], patient=sets.patients[name])


def match_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    """The card's row of the match test: among strangers of like area and density."""
    noted = table["k"].isna()  # the one row of a set that is too small
    wanted = noted | (table["k"].eq(MATCH_AMONG) & table["null"].eq(_LIKE_AREA))
    chosen = table[(table["features"] == "anatomy") & wanted].set_index("set")
    if CANDIDATE not in chosen.index:
        return []
    own = chosen.loc[CANDIDATE]
    real = chosen["accuracy"].get("real", np.nan)
    note = own["note"] if isinstance(own["note"], str) and own["note"] else f"chance: {own['chance']:g}"
    return [_row("match", own, "accuracy", real, note)]


def fidelity_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    """The card's rows of texture."""
    rows = table.set_index("metric").reindex([name for name in FIDELITY if name in set(table["metric"])])
    return [_row(name, row, "value", row["null_median"], row["note"]) for name, row in rows.iterrows()]


def memorisation_rows(table: pd.DataFrame | None) -> list[dict[str, object]]:
    """The card's row of pairs that lie nearer to a training pair of the study than held-out ones come, by either
    distance."""
    if table is None:
        return []
    rows = table[table["distance"] == EITHER].set_index("set")
    row = rows.loc[CANDIDATE].rename({"flagged_low": "low", "flagged_high": "high"})
    return [_row("memorised", row, "flagged", rows.loc[HELDOUT, "flagged"], "of the study's training pairs")]


def artefact_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    """The card's row of artefacts: patients with any of them."""
    rows = table[table["artefact"] == "any"].set_index("set")
    return [_row("artefacts", rows.loc[CANDIDATE], "rate", rows.loc["real", "rate"], "")]


def _row(figure: str, row: pd.Series, value: str, real: float, note: str) -> dict[str, object]:
    return {"figure": figure, "value": row[value], "low": row["low"], "high": row["high"], "real": real, "n": row["n"],
            "note": note}
