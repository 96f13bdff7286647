"""The claims file `claims.yaml`: its records, read and validated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ClaimsError(ValueError):
    """The claims file or a result can't be used; the message names file, claim, field and remedy."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Equivalence(_Record):
    """Every set equivalent to real within the protocol's margin."""

    kind: Literal["equivalence"]
    table: str
    measure: str


class AtMost(_Record):
    """A distance no larger than a threshold that chance alone stays below."""

    kind: Literal["at_most"]
    table: str
    measure: str
    statistic: Literal["emd", "ks"]
    threshold: float = Field(gt=0.0)
    p: Literal["p", "p_holm", "p_bh"]


class Nearer(_Record):
    """In each pair of sets, the first nearer to real than the second."""

    kind: Literal["nearer"]
    table: str
    measure: str
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    min_runs: int = Field(ge=1)


class RateWithin(_Record):
    """A rate whose interval overlaps a range."""

    kind: Literal["rate_within"]
    table: str
    low: float = Field(ge=0.0, le=1.0)
    high: float = Field(ge=0.0, le=1.0)
    max_width: float = Field(gt=0.0)  # a wider interval decides nothing


class Consistency(_Record):
    """A consistency score above a threshold in enough sets."""

    kind: Literal["consistency"]
    table: str
    measure: str
    threshold: float = Field(gt=0.0)
    min_sets: int = Field(ge=1)
    min_real_gain: float = Field(ge=0.0)


class ByAppendix(_Record):
    """Judged by an appendix, which hands in `observed` and `verdict` itself."""

    kind: Literal["by_appendix"]


Test = Annotated[Equivalence | AtMost | Nearer | RateWithin | Consistency | ByAppendix, Field(discriminator="kind")]


class Claim(_Record):
    """One claim of the paper with the criterion that judges it."""

    id: str
    statement: str
    paper: str
    figures: dict[str, float]
    criterion: str
    test: Test
    needs: tuple[str, ...] = Field(min_length=1)  # keys of the results that must be there
    calibrated: bool  # the criterion's figure is set by us on phantoms
    note: str = ""


class _Ledger(_Record):
    version: Literal[1]
    claims: tuple[Claim, ...] = Field(min_length=1)


def load_claims(path: Path) -> tuple[Claim, ...]:
    """Read and validate the claims file.

    Args:
        path: `claims.yaml`.

    Raises:
        ClaimsError: The file is absent, isn't YAML, repeats an id, or has an unknown, missing or wrong field.
    """
    path = Path(path)
    try:
        ledger = _Ledger.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ClaimsError(f"{path}: not found; it stands in the project's root as claims.yaml") from None
    except yaml.YAMLError as error:
        raise ClaimsError(f"{path}: not valid YAML: {error}") from error
    except ValidationError as error:
        raise ClaimsError(f"{path.name}: " + "; ".join(_explain(item) for item in error.errors())) from None
    ids = [claim.id for claim in ledger.claims]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise ClaimsError(f"{path.name}: id {repeated[0]!r} stands more than once; give each claim its own")
    return ledger.claims


def paper_figures(path: Path) -> dict[str, float]:
    """The paper's figures of all claims by name, such as `ks` and `n_real`."""
    return {name: value for claim in load_claims(path) for name, value in claim.figures.items()}


def _explain(item: Mapping[str, Any]) -> str:
    place = list(item["loc"])
    if len(place) > 1 and place[0] == "claims":
        place = [f"claim number {place[1] + 1}", *place[2:]]
    message = "unknown field" if item["type"] == "extra_forbidden" else item["msg"]
    return f"{', '.join(map(str, place)) or 'file'}: {message} (got {item.get('input')!r})"
