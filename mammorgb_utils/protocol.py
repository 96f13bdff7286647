"""Every choice of a study, in one frozen, validated record."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

PROFILES_DIR = Path(__file__).resolve().parent.parent / "profiles"

ThirdChannel = Literal["sum", "absdiff", "zero"]
SET_ORDER = ("real", "sum", "absdiff", "zero")  # of every table and figure
Fraction = Field(ge=0.0, le=1.0)


class ProtocolError(ValueError):
    """A protocol can't be used; the message names file, field and remedy."""


class Protocol(BaseModel):
    """All fields that decide a result; defaults are the laptop study's.

    Profiles in `profiles/*.yaml` hold the fields that differ. A field whose comment begins with
    *open* is one that the paper doesn't state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str = "laptop"
    seed: int = Field(2511, ge=0)  # of training, sampling and resampling; the cohort has its own

    # cohort
    phantom_pairs: PositiveInt = 600  # usable pairs in the phantom cohort
    phantom_seed: int = Field(22759, ge=0)
    accepted_birads: tuple[int, ...] = (2,)  # the paper: BI-RADS 2 only
    unknown_birads: Literal["exclude", "include"] = "exclude"  # what an empty BI-RADS does
    for_processing: Literal["reject", "convert"] = "reject"  # detector values: left out, or shown by their logarithm
    repeated_views: Literal["first", "last"] = "first"  # which file of a repeated view, in manifest order
    real_split: Literal["heldout", "train", "all"] = "heldout"  # open: whether the real set was seen in training
    n_real: PositiveInt | None = None  # real pairs compared against; null = all of real_split

    # preprocessing
    image_size: PositiveInt = 64  # px
    mirror: bool = True  # chest wall to the left: the paper's "left views mirrored" up to one global flip
    aspect: Literal["squash", "pad"] = "squash"  # open: to a square by squashing or by padding with air
    match_scope: Literal["foreground", "image", "none"] = "foreground"  # open: which pixels the histogram matching sees
    reference_cdf: str = "phantom"  # a packaged reference, or a path to a file of `mammorgb reference-cdf`

    # encoding
    encodings: tuple[ThirdChannel, ...] = ("sum", "absdiff", "zero")
    sum_scale: float = Field(0.5, gt=0.0, le=1.0)  # open: factor that brings CC + MLO into [0, 1]; clipped after it

    # training
    base_model: str = "models/phantom-base-64"  # diffusers pipeline folder, or hub id
    batch_size: PositiveInt = 16
    accumulation: PositiveInt = 1  # passes that a process's share of a batch is split into; saves memory alone
    epochs: float = Field(6.0, gt=0.0)  # passes over the training pairs
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: on the kernels, with adamw on the rest
    learning_rate: float = Field(2e-4, gt=0.0)  # of adamw
    muon_learning_rate: float = Field(0.01, gt=0.0)  # of muon, which moves each kernel by an orthogonal matrix
    lr_schedule: Literal["constant", "cosine"] = "constant"  # open
    warmup_steps: int = Field(0, ge=0)  # open: linear warm-up
    weight_decay: float = Field(0.01, ge=0.0)  # open: AdamW
    max_grad_norm: float = Field(1.0, gt=0.0)  # open: gradient clipping
    ema_decay: float = Field(0.98, ge=0.0, lt=1.0)  # open: 0 = no average kept
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the hardware has it
    checkpoint_every: PositiveInt = 25  # steps

    # sampling
    n_synthetic: PositiveInt = 200  # pairs an encoding
    sampler: Literal["ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++"] = "dpmsolver++"  # open
    sampling_steps: int = Field(15, ge=1, le=1000)
    sampling_weights: Literal["ema", "raw"] = "ema"  # open
    sampling_batch: PositiveInt = 50  # pairs denoised together; doesn't change the images beyond rounding

    # masks and statistics
    mask_method: Literal["background", "otsu", "triangle", "watershed"] = "background"  # open: the paper names none
    equivalence_margin: float = Field(0.05, gt=0.0)  # of IoU; ±0.02 strict, ±0.05 laptop
    alpha: float = Field(0.05, gt=0.0, lt=1.0)  # family-wise, Holm
    n_permutations: PositiveInt = 2000
    n_bootstrap: PositiveInt = 2000
    n_derangements: PositiveInt = 20  # shuffled pairings of the consistency null

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if not self.encodings or len(set(self.encodings)) != len(self.encodings):
            raise ValueError("encodings: name each of sum, absdiff, zero at most once, and at least one")
        if self.image_size % 8:
            raise ValueError("image_size: must be a multiple of 8, as the UNet halves it three times or more")
        if self.sampling_weights == "ema" and self.ema_decay == 0.0:
            raise ValueError("sampling_weights: 'ema' needs ema_decay > 0; set it, or sampling_weights to 'raw'")
        if self.sampler.startswith("sde-") and self.sampling_steps < 2:
            raise ValueError(f"sampling_steps: {self.sampler} draws noise between steps; use 2 or more")
        return self

    @classmethod
    def load(cls, profile: str | Path, **overrides: Any) -> Protocol:
        """Read a profile by name (`smoke`, `laptop`, `paper`) or by path, then apply overrides.

        Raises:
            ProtocolError: The profile doesn't exist or isn't YAML, or a field is unknown or out of range.
        """
        path = _profile_path(profile)
        try:
            fields = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ProtocolError(f"{path.name}: not valid YAML: {error}") from error
        if not isinstance(fields, dict):
            raise ProtocolError(f"{path.name}: must hold fields and values, such as `epochs: 3`")
        return cls._validated({"profile": path.stem, **fields, **overrides}, source=path.name)

    def changed(self, **fields: Any) -> Protocol:
        """This protocol with other values in some fields, for the trials of an appendix.

        Raises:
            ProtocolError: A field is unknown or out of range.
        """
        return self._validated({**self.model_dump(), **fields}, source="changed protocol")

    def to_json(self) -> str:
        """All fields, sorted, as recorded in `runs/<name>/protocol.json`."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)

    @classmethod
    def _validated(cls, fields: dict[str, Any], source: str) -> Protocol:
        try:
            return cls(**fields)
        except ValidationError as error:
            lines = [_explain(item, cls) for item in error.errors()]
            raise ProtocolError(f"{source}: " + "; ".join(lines)) from None


def _profile_path(profile: str | Path) -> Path:
    named = Path(profile).suffix not in {".yaml", ".yml"}
    path = PROFILES_DIR / f"{profile}.yaml" if named else PROFILES_DIR.parent / profile
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES_DIR.glob("*.yaml")))
        raise ProtocolError(f"profile {profile!r} not found; use one of {known}, or a YAML file's path "
                            "from the project's root")
    return path


def _explain(item: dict[str, Any], cls: type[Protocol]) -> str:
    field = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, cls.model_fields, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "mammorgb_utils/protocol.py lists them all"
        return f"unknown field {field!r}; {remedy}"
    message = item["msg"].removeprefix("Value error, ")
    return f"field {field!r}: {message} (got {item.get('input')!r})" if field else message
