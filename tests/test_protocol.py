"""The protocol refuses what it doesn't know, and says what to do."""

import pytest

from mammorgb_utils.protocol import Protocol, ProtocolError


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_profiles_load_and_come_back_from_their_record(profile):
    protocol = Protocol.load(profile)
    assert protocol.profile == profile
    assert Protocol.model_validate_json(protocol.to_json()) == protocol


def test_paper_profile_holds_the_papers_fields():
    paper = Protocol.load("paper")
    assert (paper.image_size, paper.batch_size, paper.epochs, paper.learning_rate) == (256, 16, 100, 1e-5)
    assert (paper.base_model, paper.sampler, paper.sampling_steps) == ("google/ddpm-celebahq-256", "ddpm", 1000)
    assert (paper.n_synthetic, paper.n_real, paper.accepted_birads) == (500, 2500, (2,))


def test_laptop_profile_keeps_to_the_promised_sizes():
    laptop = Protocol.load("laptop")
    assert laptop == Protocol()
    assert laptop.n_synthetic >= 200 and laptop.sampling_steps <= 25 and laptop.image_size == 64


@pytest.mark.parametrize(("text", "message"), [
    ("epoch: 3\n", "unknown field 'epoch'; did you mean 'epochs'"),
    ("epochs: -1\n", "field 'epochs'.*greater than 0.*got -1"),
    ("encodings: [sum, sum]\n", "at most once"),
    ("image_size: 60\n", "multiple of 8"),
    ("ema_decay: 0.0\n", "needs ema_decay > 0"),
    ("mask_method: ostu\n", "field 'mask_method'.*'otsu'"),
    ("sampling_steps: 2000\n", "field 'sampling_steps'.*1000"),
    ("sampler: euler\n", "field 'sampler'.*'ddpm'"),
    ("epochs: [\n", "not valid YAML"),
    ("- epochs\n", "fields and values"),
])
def test_a_wrong_profile_names_file_field_and_remedy(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProtocolError, match=message) as error:
        Protocol.load(path)
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value).split("YAML")[0]


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ProtocolError, match="laptop, paper, smoke"):
        Protocol.load("labtop")


def test_a_changed_protocol_is_validated_like_any_other():
    usual = Protocol()
    assert usual.changed(epochs=2).epochs == 2.0 and usual.changed() == usual
    with pytest.raises(ProtocolError, match="changed protocol: unknown field 'epoch'; did you mean 'epochs'"):
        usual.changed(epoch=2)
    with pytest.raises(ProtocolError, match="sampler"):
        usual.changed(sampler="euler")
