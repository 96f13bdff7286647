"""Every choice of a study, in one frozen, validated record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from mammorgb_utils.yaml_files import Record, read_record, validated

PROFILES_DIR = Path(__file__).resolve().parent.parent / "profiles"

ThirdChannel = Literal["sum", "absdiff", "zero"]
THIRD_CHANNELS: tuple[ThirdChannel, ...] = get_args(ThirdChannel)
SET_ORDER = ("real", *THIRD_CHANNELS)  # of every table and figure
VIEWS = ("CC", "MLO")  # of a pair, in the order of arrays and channels


class ProtocolError(ValueError):
    """A protocol can't be used; the message names file, field and remedy."""


def _field(default: Any, meaning: str, **limits: Any) -> Any:
    return Field(default, description=meaning, **limits)


class Protocol(Record):
    """All fields that decide a result, each with its default, its meaning and its limits.

    Profiles in `profiles/*.yaml` hold the fields that differ. A meaning that begins with *open* marks a
    choice that the paper doesn't state.
    """

    profile: str = _field("laptop", "name of the file in profiles/")
    seed: int = _field(2511, "of training, sampling and resampling; the cohort has its own", ge=0)

    # cohort
    phantom_pairs: PositiveInt = _field(600, "usable pairs in the phantom cohort")
    phantom_seed: int = _field(22759, "of the phantom cohort", ge=0)
    accepted_birads: tuple[int, ...] = _field((2,), "the paper: BI-RADS 2 only", min_length=1)
    unknown_birads: Literal["exclude", "include"] = _field("exclude", "what an empty BI-RADS does")
    for_processing: Literal["reject", "convert"] = _field(
        "reject", "detector values: left out, or shown by their logarithm")
    repeated_views: Literal["first", "last"] = _field("first", "which file of a repeated view, in manifest order")
    real_split: Literal["heldout", "train", "all"] = _field(
        "heldout", "open: whether the real set was seen in training")
    n_real: PositiveInt | None = _field(None, "real pairs compared against; null = all of real_split")

    # preprocessing
    image_size: PositiveInt = _field(64, "px")
    mirror: bool = _field(True, 'chest wall to the left: the paper\'s "left views mirrored" up to one global flip')
    aspect: Literal["squash", "pad"] = _field("squash", "open: to a square by squashing or by padding with air")
    match_scope: Literal["foreground", "image", "none"] = _field(
        "foreground", "open: which pixels the histogram matching sees")
    reference_cdf: str = _field("phantom", "a packaged reference, or a path to a file of `mammorgb reference-cdf`")

    # encoding
    encodings: tuple[ThirdChannel, ...] = _field(THIRD_CHANNELS, "third channels that are compared", min_length=1)
    sum_scale: float = _field(0.5, "open: factor that brings CC + MLO into [0, 1]; clipped after it", gt=0.0, le=1.0)

    condition: Literal["none", "density"] = _field("none", "beyond the paper: labels from the manifest")

    # training
    base_model: str = _field("models/phantom-base-64", "diffusers pipeline folder, or hub id")
    batch_size: PositiveInt = _field(16, "training pairs a step")
    accumulation: PositiveInt = _field(1, "passes that a process's share of a batch is split into; saves memory alone")
    epochs: float = _field(6.0, "passes over the training pairs", gt=0.0)
    optimizer: Literal["adamw", "muon"] = _field("adamw", "muon: on the kernels, with adamw on the rest")
    learning_rate: float = _field(2e-4, "of adamw", gt=0.0)
    muon_learning_rate: float = _field(0.01, "of muon, which moves each kernel by an orthogonal matrix", gt=0.0)
    lr_schedule: Literal["constant", "cosine"] = _field("constant", "open: the rate after the warm-up")
    warmup_steps: int = _field(0, "open: linear warm-up", ge=0)
    weight_decay: float = _field(0.01, "open: AdamW", ge=0.0)
    max_grad_norm: float = _field(1.0, "open: gradient clipping", gt=0.0)
    ema_decay: float = _field(0.98, "open: 0 = no average kept", ge=0.0, lt=1.0)
    precision: Literal["auto", "fp32", "bf16"] = _field("auto", "auto: bf16 where the hardware has it")
    checkpoint_every: PositiveInt = _field(25, "steps")

    # sampling
    n_synthetic: PositiveInt = _field(200, "pairs an encoding")
    sampler: Literal["ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++"] = _field(
        "dpmsolver++", "open: how noise becomes an image")
    sampling_steps: int = _field(15, "denoising steps an image", ge=1, le=1000)
    sampling_spacing: Literal["quadratic", "trailing"] = _field(
        "quadratic", "open: noise levels that dpmsolver++ visits; quadratic: more of the low ones, of grain")
    sampling_weights: Literal["ema", "raw"] = _field("ema", "open: averaged weights, or the last ones")
    sampling_batch: PositiveInt = _field(50, "pairs denoised together; doesn't change the images beyond rounding")

    # masks and statistics
    mask_method: Literal["background", "otsu", "triangle", "watershed"] = _field(
        "background", "open: the paper names none")
    equivalence_margin: float = _field(0.05, "of IoU; ±0.02 strict, ±0.05 laptop", gt=0.0)
    alpha: float = _field(0.05, "family-wise, Holm", gt=0.0, lt=1.0)
    n_permutations: PositiveInt = _field(2000, "draws of a null band")
    n_bootstrap: PositiveInt = _field(2000, "draws of an interval")
    n_derangements: PositiveInt = _field(20, "shuffled pairings of the consistency null")

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any, field: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[field.field_name].annotation is not bool:
            raise ValueError("a number or a text, not true or false")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if len(set(self.encodings)) != len(self.encodings):
            raise ValueError("encodings: name each of sum, absdiff, zero at most once")
        if self.image_size % 8:
            raise ValueError("image_size: must be a multiple of 8, as the UNet halves it three times or more")
        if self.sampling_weights == "ema" and self.ema_decay == 0.0:
            raise ValueError("sampling_weights: 'ema' needs ema_decay > 0; set it, or sampling_weights to 'raw'")
        if self.sampler.startswith("sde-") and self.sampling_steps < 2:
            raise ValueError(f"sampling_steps: {self.sampler} draws noise between steps; use 2 or more")
        return self

    @classmethod
    def load(cls, profile: str | Path, **overrides: Any) -> Protocol:
        """Read a profile by name (`smoke`, `laptop`, `workstation`, `paper`) or by path, then apply overrides.

        Raises:
            ProtocolError: The profile doesn't exist or can't be read, or a field is unknown or out of range.
        """
        is_path = Path(profile).suffix in {".yaml", ".yml"}
        path = PROFILES_DIR.parent / profile if is_path else PROFILES_DIR / f"{profile}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(path.stem for path in PROFILES_DIR.glob("*.yaml")))
            raise ProtocolError(f"profile {str(profile)!r} not found; use one of {known}, or a YAML file's path "
                                "from the project's root")
        return read_record(path, cls, ProtocolError, {"profile": path.stem}, **overrides)

    def changed(self, **fields: Any) -> Protocol:
        """This protocol with other values in some fields; raises as `load`."""
        return validated(Protocol, {**self.model_dump(), **fields}, "changed protocol", ProtocolError)

    @classmethod
    def completed(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """A recorded protocol with what was done before there were the fields that it lacks."""
        return cls(sampling_spacing="trailing").model_dump(mode="json") | recorded
