from pathlib import Path

import pandas as pd
import pytest
import yaml

from mammorgb_utils.experiments.third_channel import run_contrasts, runs_per_encoding
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims import (
    VERDICTS,
    ClaimsError,
    evaluate_claims,
    load_claims,
    paper_figures,
)
from mammorgb_utils.reporting.ledger import learning_rate_claim

CLAIMS = Path(__file__).resolve().parents[2] / "claims.yaml"
PROTOCOL = Protocol()
ENCODINGS = ("sum", "absdiff", "zero")


def effects(verdicts=("equivalent",) * 3, lost=5):
    return pd.DataFrame([{"set": name, "measure": "iou", "n": 95, "n_nan": lost, "hodges_lehmann": 0.01,
                          "hodges_lehmann_low": -0.01, "hodges_lehmann_high": 0.03, "equivalence": verdict}
                         for name, verdict in zip(ENCODINGS, verdicts, strict=True)])


def distances(emd=(0.01,) * 3, high=0.015, p=0.5, ks=0.05, ks_high=0.07):
    rows = [{"set": name, "measure": "iou", "statistic": "emd", "value": value, "band_high": high, "p_holm": p,
             "p_bh": float("nan")} for name, value in zip(ENCODINGS, emd, strict=True)]
    rows += [{"set": name, "measure": "iou", "statistic": "ks", "value": ks, "band_high": ks_high,
              "p_holm": float("nan"), "p_bh": p} for name in ENCODINGS]
    return pd.DataFrame(rows)


def contrasts(low=0.01, high=0.05):
    return pd.DataFrame([{"first": first, "second": second, "measure": "iou", "p": 0.001, "p_holm": 0.002,
                          "median_difference": 0.02, "closer": 0.03, "closer_low": low, "closer_high": high}
                         for first, second in (("sum", "absdiff"), ("sum", "zero"), ("absdiff", "zero"))])


def consistency(intervals=((0.75, 1.0), (0.8, 1.1), (0.2, 0.5)), gain=0.12, nearest=0.80, own=0.84):
    rows = [{"set": "real", "measure": "iou", "paired_median": 0.84, "gain": gain, "score": float("nan"),
             "score_low": float("nan"), "score_high": float("nan"), "over_area": 0.84 - nearest,
             "over_area_low": 0.83 - nearest, "over_area_high": 0.85 - nearest}]
    rows += [{"set": name, "measure": "iou", "paired_median": own, "gain": 0.1, "score": (low + high) / 2,
              "score_low": low, "score_high": high}
             for name, (low, high) in zip(ENCODINGS, intervals, strict=True)]
    return pd.DataFrame(rows)


def verdict(claim, results, source="archive", protocol=PROTOCOL, path=CLAIMS):
    table = evaluate_claims(results, cohort_source=source, protocol=protocol, path=path).set_index("id")
    return table.loc[claim, "verdict"]


def test_ledger_holds_the_papers_seven_claims_and_figures():
    claims = load_claims(CLAIMS)
    assert [claim.id for claim in claims] == [f"C{i}" for i in range(1, 8)]
    assert all(claim.criterion and claim.paper and claim.needs for claim in claims)
    figures = paper_figures(CLAIMS)
    assert {"ks": 0.077, "emd": 0.02, "n_synthetic": 500, "n_real": 2500, "median_iou": 0.84}.items() <= figures.items()


def test_without_results_nothing_was_run():
    table = evaluate_claims({}, cohort_source="archive", protocol=PROTOCOL)
    assert list(table) == ["id", "claim", "paper", "criterion", "observed", "verdict", "note"]
    assert (table["verdict"] == "not run").all()
    assert (table["observed"] == "").all()
    assert table["note"].str.startswith("needs ").all()


@pytest.mark.parametrize(("found", "expected"), [
    (("equivalent",) * 3, "reproduced"), (("equivalent", "beyond margin", "inconclusive"), "not reproduced"),
    (("equivalent", "inconclusive", "equivalent"), "underpowered")])
def test_equivalence_criterion(found, expected):
    assert verdict("C1", {"effects": effects(found)}) == expected


def test_nothing_is_called_equal_where_many_pairs_lack_a_value():
    table = evaluate_claims({"effects": effects(lost=6)}, cohort_source="archive", protocol=PROTOCOL).set_index("id")
    assert table.loc["C1", "verdict"] == "underpowered"
    assert table.loc["C1", "note"].startswith("too many pairs without a value: sum, absdiff, zero")
    apart = effects(("beyond margin",) * 3, lost=6)
    assert verdict("C1", {"effects": apart}) == "not reproduced", "the others are beyond the margin all the same"


@pytest.mark.parametrize(("facts", "expected"), [
    ({}, "reproduced"), ({"emd": (0.01, 0.03, 0.01), "p": 0.01}, "not reproduced"),
    ({"emd": (0.01, 0.03, 0.01), "p": 0.2, "high": 0.035}, "underpowered"),
    ({"high": 0.025}, "underpowered"), ({"emd": (0.01, float("nan"), 0.01)}, "underpowered"),
    ({"emd": (0.019, 0.019, 0.019), "p": 0.01}, "reproduced")])
def test_threshold_criterion(facts, expected):
    assert verdict("C2", {"distances": distances(**facts)}) == expected


@pytest.mark.parametrize(("facts", "expected"), [
    ({}, "reproduced"), ({"ks": 0.2, "p": 0.001}, "not reproduced"), ({"ks_high": 0.13}, "underpowered")])
def test_ks_is_judged_by_its_own_p_value(facts, expected):
    assert verdict("C3", {"distances": distances(**facts)}) == expected


@pytest.mark.parametrize(("runs", "bounds", "expected"), [
    (1, (0.01, 0.05), "underpowered"), (2, (0.01, 0.05), "underpowered"), (3, (0.01, 0.05), "reproduced"),
    (3, (-0.05, -0.01), "not reproduced"), (3, (-0.01, 0.05), "underpowered")])
def test_encodings_are_judged_over_three_runs_only(runs, bounds, expected):
    assert verdict("C4", {"contrasts": contrasts(*bounds), "runs_per_encoding": runs}) == expected


def test_one_run_each_is_said():
    table = evaluate_claims({"contrasts": contrasts()}, cohort_source="archive", protocol=PROTOCOL)
    row = table.set_index("id").loc["C4"]
    assert row["note"].startswith("one run each: encoding is confounded with seed; 3 runs an encoding needed")
    assert "sum − zero: median +0.020 (p 0.002)" in row["observed"]


@pytest.mark.parametrize(("facts", "expected"), [
    ({}, "reproduced"), ({"intervals": ((0.75, 1.0), (0.2, 0.6), (0.2, 0.5))}, "not reproduced"),
    ({"intervals": ((0.75, 1.0), (0.6, 0.9), (0.2, 0.5))}, "underpowered"),
    ({"gain": 0.05}, "not testable on this cohort"), ({"gain": float("nan")}, "not testable on this cohort"),
    ({"nearest": 0.85}, "not testable on this cohort"),
    ({"own": 0.80}, "reproduced"), ({"own": 0.78}, "underpowered")])
def test_consistency_criterion(facts, expected):
    assert verdict("C7", {"consistency": consistency(**facts)}) == expected


def artefacts(low, high):
    return pd.DataFrame([{"set": name, "rate": (low + high) / 2, "low": low, "high": high} for name in ENCODINGS])


@pytest.mark.parametrize(("bounds", "expected"), [
    ((0.05, 0.09), "reproduced"), ((0.10, 0.14), "not reproduced"), ((0.0, 0.2), "underpowered")])
def test_rate_criterion(bounds, expected):
    assert verdict("C5", {"artefacts": artefacts(*bounds)}) == expected


def test_a_figure_that_we_set_ourselves_earns_no_verdict_on_phantoms():
    assert verdict("C5", {"artefacts": artefacts(0.05, 0.09)}, source="phantom") == \
        "not testable on this cohort, on phantoms"


def test_an_appendix_hands_in_its_verdict():
    swept = {"learning_rate_sweep": {"observed": "0 of 3 runs diverged", "verdict": "reproduced"}}
    assert verdict("C6", swept) == "reproduced"
    swept["learning_rate_sweep"]["verdict"] = "probably"
    with pytest.raises(ValueError, match="'probably' is none of reproduced"):
        verdict("C6", swept)


def test_every_verdict_on_phantoms_says_so():
    results = {"effects": effects(), "distances": distances(), "contrasts": contrasts(),
               "consistency": consistency(gain=0.01)}
    table = evaluate_claims(results, cohort_source="phantom", protocol=PROTOCOL)
    assert table["verdict"].str.endswith("on phantoms").all()
    assert all(text.startswith(VERDICTS) for text in table["verdict"])
    assert table["verdict"].tolist()[0] == "reproduced on phantoms"


def test_an_encoding_without_results_is_not_judged():
    partial = effects().iloc[:2]
    assert verdict("C1", {"effects": partial}) == "not run"
    assert verdict("C1", {"effects": partial}, protocol=Protocol(encodings=("sum", "absdiff"))) == "reproduced"
    assert verdict("C4", {"contrasts": contrasts().iloc[:1]}) == "not run"


def test_results_of_another_version_are_refused():
    with pytest.raises(ClaimsError, match="claim C2: the results for distances lack 'band_high'"):
        verdict("C2", {"distances": distances().drop(columns="band_high")})


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c["claims"][0].update(treshold=1), r"line \d+, unknown field 'claims.0.treshold'"),
    (lambda c: c["claims"][1]["test"].update(threshold="low"),
     r"line \d+, field 'claims.1.test.at_most.threshold': .*'low'"),
    (lambda c: c["claims"][2].pop("paper"), r"line \d+, field 'claims.2.paper': Field required"),
    (lambda c: c["claims"][3]["test"].update(kind="gut"), "field 'claims.3.test': .*'gut'"),
    (lambda c: c["claims"][4].update(id="C1"), "id 'C1' stands more than once")])
def test_broken_claims_file_is_refused_with_its_place(tmp_path, change, message):
    content = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ClaimsError, match=message):
        load_claims(path)


def test_absent_or_unreadable_claims_file(tmp_path):
    with pytest.raises(ClaimsError, match="not found"):
        load_claims(tmp_path / "claims.yaml")
    (tmp_path / "claims.yaml").write_text("claims: [", encoding="utf-8")
    with pytest.raises(ClaimsError, match="not valid YAML"):
        load_claims(tmp_path / "claims.yaml")


def sweep(clipped, diverged=((0, 0), (1, 1)), seeds=(1, 2)):
    return pd.DataFrame([{"learning_rate": rate, "seed": seed, "clipped": shares[i], "diverged": bool(lost[i])}
                         for rate, shares, lost in zip((1e-5, 1e-4), clipped, diverged, strict=True)
                         for i, seed in enumerate(seeds)])


@pytest.mark.parametrize(("clipped", "diverged", "expected"), [
    (((0.1, 0.2), (0.3, 0.3)), ((0, 0), (1, 1)), "reproduced"),
    (((0.1, 0.4), (0.3, 0.0)), ((0, 0), (1, 1)), "reproduced"),
    (((0.1, 0.2), (float("nan"), 0.3)), ((0, 0), (1, 1)), "reproduced"),
    (((0.1, 0.2), (0.3, 0.3)), ((0, 0), (0, 0)), "reproduced"),
    (((0.1, 0.4), (0.3, 0.3)), ((0, 0), (0, 0)), "not reproduced"),
    (((0.1, 0.3), (0.3, 0.3)), ((0, 0), (0, 0)), "underpowered"),
    (((0.1, 0.2), (0.3, 0.3)), ((1, 0), (0, 1)), "not reproduced")])
def test_learning_rates_are_judged_at_every_seed(clipped, diverged, expected):
    swept = learning_rate_claim(sweep(clipped, diverged), "epsilon")
    assert verdict("C6", {"learning_rate_sweep": swept}) == expected


@pytest.mark.parametrize(("source", "suffix"), [("phantom", True), ("phantom/vindr", True), ("vindr", False)])
def test_phantoms_among_the_pairs_qualify_every_verdict(source, suffix):
    assert verdict("C4", {"contrasts": contrasts(), "runs_per_encoding": 3}, source).endswith("on phantoms") == suffix


def test_a_base_that_does_not_predict_noise_earns_no_verdict():
    swept = learning_rate_claim(sweep(((0.1, 0.2), (0.3, 0.3))), "v_prediction")
    assert verdict("C6", {"learning_rate_sweep": swept}) == "not testable on this cohort"
    assert swept["observed"].startswith("1e-5: clipped in 10%, 20% of steps, 0 of 2 runs diverged; 1e-4:")
    assert "prediction type is v_prediction" in swept["note"]
    only = sweep(((0.1, 0.2), (0.3, 0.3)))
    assert learning_rate_claim(only[only["learning_rate"] > 5e-5], "epsilon")["verdict"] == "not run"


@pytest.mark.parametrize(("runs", "emd_zero", "expected"), [
    (3, 0.08, "reproduced"), (2, 0.08, "underpowered"), (3, 0.02, "not reproduced"), (3, 0.05, "underpowered")])
def test_contrasts_over_runs_are_what_the_claim_about_encodings_reads(runs, emd_zero, expected):
    centres = {"sum": 0.05, "absdiff": 0.05, "zero": emd_zero}
    table = pd.DataFrame([{"encoding": name, "seed": seed, "emd": centre + 0.001 * ((seed * 7 + i * 3) % 5),
                           "iou_median": 0.8 + 0.001 * seed * i, "gain": 0.1}
                          for seed in range(runs) for i, (name, centre) in enumerate(centres.items())])
    found = {"contrasts": run_contrasts(table), "runs_per_encoding": runs_per_encoding(table, ENCODINGS)}
    assert verdict("C4", found) == expected
