"""The protocol refuses what it doesn't know, and says what to do."""

import pytest

from mammorgb_utils.protocol import Protocol, ProtocolError


@pytest.mark.parametrize("profile", ["smoke", "laptop", "workstation", "paper"])
def test_profiles_load_and_come_back_from_their_record(profile):
    protocol = Protocol.load(profile)
    assert protocol.profile == profile
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol


def test_paper_profile_holds_the_papers_fields():
    paper = Protocol.load("paper")
    assert (paper.image_size, paper.batch_size, paper.epochs, paper.learning_rate) == (256, 16, 100, 1e-5)
    assert (paper.base_model, paper.sampler, paper.sampling_steps) == ("google/ddpm-celebahq-256", "ddpm", 1000)
    assert (paper.n_synthetic, paper.n_real, paper.accepted_birads) == (500, 2500, (2,))


def test_laptop_profile_keeps_to_the_promised_sizes():
    laptop = Protocol.load("laptop")
    assert (laptop.optimizer, laptop.sampler, laptop.sampling_steps) == ("muon", "sde-dpmsolver++", 25)
    assert laptop.n_synthetic >= 200 and laptop.sampling_steps <= 25 and laptop.image_size == 64


def test_workstation_profile_has_the_papers_counts():
    larger = Protocol.load("workstation")
    assert (larger.phantom_pairs, larger.n_synthetic, larger.equivalence_margin) == (5000, 500, 0.02)
    assert larger.optimizer == "muon" and larger.epochs * larger.phantom_pairs / 2 / larger.batch_size >= 2000


@pytest.mark.parametrize(("text", "message"), [
    ("epoch: 3\n", "unknown field 'epoch'; did you mean 'epochs'"),
    ("epochs: -1\n", "field 'epochs'.*greater than 0.*got -1"),
    ("encodings: [sum, sum]\n", "at most once"),
    ("image_size: 60\n", "multiple of 8"),
    ("ema_decay: 0.0\n", "needs ema_decay > 0"),
    ("mask_method: ostu\n", "field 'mask_method'.*'otsu'"),
    ("sampling_steps: 2000\n", "field 'sampling_steps'.*1000"),
    ("sampler: euler\n", "field 'sampler'.*'ddpm'"),
    ("epochs: [\n", "not valid YAML.*line 2"),
    ("- epochs\n", "fields and values"),
    ("# mine\nepochs: -1\n", "line 2, field 'epochs'.*greater than 0"),
    ("epochs: 3\nseed: 5\nepochs: 9\n", "line 3, field 'epochs': stands in line 1 already; keep one"),
    ("epochs: 1:30\n", "line 1, field 'epochs': YAML reads 1:30 as 90; write a decimal number"),
    ("n_synthetic: 010\n", "field 'n_synthetic': YAML reads 010 as 8"),
    ("n_synthetic: 1_000\n", "field 'n_synthetic': YAML reads 1_000 as 1000"),
    ("mirror: no\n", "field 'mirror': YAML reads no as False; .* true or false"),
    ("reference_cdf: 2020-01-02\n", "field 'reference_cdf': YAML reads 2020-01-02 .*quotes"),
    ("epochs: .inf\n", "field 'epochs': YAML reads .inf as inf"),
    ("accepted_birads: [2, 0b11]\n", "field 'accepted_birads.1': YAML reads 0b11 as 3"),
    ("epochs: true\n", "field 'epochs': a number or a text, not true or false"),
    ("encodings: []\n", "line 1, field 'encodings'.*at least 1"),
    ("accepted_birads: []\n", "line 1, field 'accepted_birads'.*at least 1"),
    ("seed: &a 3\nphantom_seed: *a\n", "an alias isn't read; write the value itself.*line 2"),
    ("base_model: !!python/name:os.system\n", "not valid YAML.*python/name.*line 1"),
])
def test_a_wrong_profile_names_file_field_and_remedy(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProtocolError, match=message) as error:
        Protocol.load(path)
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value).split("YAML")[0]


@pytest.mark.parametrize(("text", "encoding", "works"), [
    ("base_model: models/grün\n", "utf-8-sig", True), ("base_model: models/grün\n", "utf-16", True),
    ("base_model: models/grün\n", "latin-1", False), ("epochs: 2e0\n", "ascii", True)])
def test_a_profile_is_read_in_unicode_or_refused(tmp_path, text, encoding, works):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding=encoding)
    if works:
        assert Protocol.load(path).epochs == (2.0 if "epochs" in text else Protocol().epochs)
        assert encoding == "ascii" or Protocol.load(path).base_model == "models/grün"
    else:
        with pytest.raises(ProtocolError, match="mine.yaml: not valid YAML: .*save the file as UTF-8"):
            Protocol.load(path)


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ProtocolError, match="laptop, paper, real-pairs, smoke, workstation"):
        Protocol.load("labtop")


def test_a_changed_protocol_is_validated_like_any_other():
    usual = Protocol()
    assert usual.changed(epochs=2).epochs == 2.0 and usual.changed() == usual
    with pytest.raises(ProtocolError, match="changed protocol: unknown field 'epoch'; did you mean 'epochs'"):
        usual.changed(epoch=2)
    with pytest.raises(ProtocolError, match="sampler"):
        usual.changed(sampler="euler")
