"""The 3-D breast of one case: sampled parameters, and its glandular tissue as a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.ndimage import map_coordinates

TRAIN_STREAM, HELDOUT_STREAM, BASE_STREAM, EXTRA_STREAM, OTHER_STREAM = range(1, 6)
VOLUME_SHAPE = (40, 80, 80)  # depth, medial–lateral, superior–inferior: voxels of about 2.5 mm
TEXTURE_EXPONENT = 3.0  # of the power spectrum, mean over breasts
LARGEST_CC_MM2 = 25000.0
_EXPOSURES = 4  # a stream of the breast's own, as `Breast.rng`'s are
_DENSITY_CUTS = (-1.2816, 0.0, 1.2816)  # latent quantiles of BI-RADS a–d, 10/40/40/10


@dataclass(frozen=True)
class Mass:
    """A planted mass or calcification in the unit half-ball: its place over the breast's half-extents."""

    u: float  # depth from the chest wall over the nipple line
    v: float  # medial–lateral
    w: float  # superior–inferior
    radius_mm: float  # after compression
    contrast: float
    calcified: bool = False


@dataclass(frozen=True)
class Placement:
    """How one view lies on the detector: nipple row [mm from the top], rotation [rad], and its compression."""

    nipple_row_mm: float
    rotation: float
    thickness_mm: float
    nipple_line_mm: float
    half_up_mm: float
    half_down_mm: float
    exponent_depth: float
    exponent_width: float


@dataclass(frozen=True)
class Breast:
    """One seeded breast: parameters of both compressions, masses, and truth."""

    key: tuple[int, ...]
    laterality: str
    volume_cm3: float
    density: float
    birads_density: str
    cc: Placement
    mlo: Placement
    muscle_angle_deg: float
    muscle_length_mm: float
    muscle_bulge_mm: float
    abdomen_mm: float
    axilla_mm: float
    nipple_mm: float
    ripple: tuple[float, float]
    masses: tuple[Mass, ...]
    roughness: float  # added to the exponent of the texture
    fat_level: float
    contrast: float
    gland_cc: float  # share of the gland that positioning brings into each view, around 1
    gland_mlo: float

    def placement(self, view: str) -> Placement:
        """The CC or the MLO compression; anything else is a `ValueError`."""
        if view not in ("CC", "MLO"):
            raise ValueError(f"view {view!r}: use 'CC' or 'MLO'")
        return self.cc if view == "CC" else self.mlo

    def rng(self, stream: int) -> np.random.Generator:
        """A generator of this breast alone; one number a purpose."""
        return np.random.default_rng([*self.key, stream])


def make_breast(seed_key: Sequence[int], *, exposure: int = 0) -> Breast:
    """Sample one breast: parameters and truth; images come from `render_view`.

    Args:
        seed_key: Non-negative integers, e.g. `(seed, stream, case)`; the same ones give the same breast.
        exposure: Above 0 the same breast, positioned and compressed anew for both views: its tissue, masses, muscle and
            shape stay, and what an exposure adds, how much gland it brings into view included, is drawn again.

    Source:
        Volume is lognormal, thickness follows volume, density falls with thickness (correlation about −0.6).
    """
    key = tuple(int(part) for part in seed_key)
    rng = np.random.default_rng([*key, 0])
    size, thick = _bounded_normal(rng, 2.2), _bounded_normal(rng, 2.2)
    volume = float(850.0 * np.exp(0.47 * size))
    thickness = 52.0 * np.exp(0.22 * size + 0.11 * thick)
    thickness = float(np.clip(max(thickness, volume * 1000.0 / (0.9 * LARGEST_CC_MM2)), 25.0, 86.0))
    relative = (0.22 * size + 0.11 * thick) / 0.246
    latent = -0.68 * relative + 0.73 * rng.standard_normal()
    density = 1.0 / (1.0 + np.exp(1.53 - 0.55 * latent))
    shape = _shape(rng, volume, thickness)
    cc, mlo = _placements(rng, shape)
    again = np.random.default_rng([*key, _EXPOSURES, exposure])
    if exposure:
        cc, mlo = _placements(again, shape)
    angle, length = _muscle(rng, mlo, volume)
    breast = Breast(
        key=key, laterality="LR"[int(rng.integers(2))], volume_cm3=volume, density=density,
        birads_density="abcd"[int(np.searchsorted(_DENSITY_CUTS, latent))], cc=cc, mlo=mlo,
        muscle_angle_deg=angle, muscle_length_mm=length, muscle_bulge_mm=rng.uniform(0.0, 3.0),
        abdomen_mm=float(np.clip(rng.normal(2.0, 3.5), 0.0, 10.0)), axilla_mm=rng.uniform(40.0, 85.0),
        nipple_mm=rng.uniform(3.5, 5.5),
        ripple=(rng.uniform(0.0, 0.02), rng.uniform(0.0, 2 * np.pi)), masses=_masses(rng),
        roughness=round(0.36 * _bounded_normal(rng, 2.0), 1),
        fat_level=rng.uniform(0.18, 0.30), contrast=rng.uniform(0.7, 1.0),
        gland_cc=_gland_share(rng), gland_mlo=_gland_share(rng))
    return replace(breast, gland_cc=_gland_share(again), gland_mlo=_gland_share(again)) if exposure else breast


def _gland_share(rng: np.random.Generator) -> float:
    return float(np.exp(0.14 * _bounded_normal(rng, 2.0)))


def _bounded_normal(rng: np.random.Generator, bound: float) -> float:
    """A standard normal within ±bound, drawn again rather than clipped, so that no value is shared by many."""
    while abs(value := rng.standard_normal()) > bound:
        pass
    return float(value)


class _Shape(NamedTuple):
    """What both compressions of a breast share: size [mm], outline, centring, and how carefully they are made."""

    thickness: float
    depth: float
    half: float
    depth_shape: float
    width_shape: float
    skew: float
    tilt: float
    row: float
    careless: float


def _shape(rng: np.random.Generator, volume: float, thickness: float) -> _Shape:
    area = min(volume * 1000.0 / (0.9 * thickness), LARGEST_CC_MM2)
    depth_shape, width_shape = rng.uniform(1.5, 2.3), rng.uniform(1.6, 2.3)
    fill = _fill(depth_shape, width_shape)
    elongation = np.exp(0.10 * rng.standard_normal())  # depth over half-width, around 0.84
    depth = float(np.clip(np.sqrt(area * 0.84 * elongation / (2 * fill)), 42.0, 143.0))
    half = float(np.clip(area / (2 * fill * depth), 40.0, 150.0))
    skew, tilt, row = 0.06 * rng.standard_normal(), 0.05 * rng.standard_normal(), 11.0 * rng.standard_normal()
    careless = 2.5 if rng.random() < 0.12 else 1.0  # a poorly positioned exposure: the left tail of the overlap
    return _Shape(thickness, depth, half, depth_shape, width_shape, skew, tilt, row, careless)


def _placements(rng: np.random.Generator, shape: _Shape) -> tuple[Placement, Placement]:
    """Both compressions: shared shape and centring, plus what each exposure adds."""
    thickness, depth, half, depth_shape, width_shape, skew, tilt, row, careless = shape
    own = careless * rng.standard_normal(6)
    mlo_depth = depth * np.exp(0.02 * own[0]) + np.clip(rng.normal(5.0, 7.0), -9.0, 21.0) * min(1.0, depth / 90.0)
    cc = Placement(114.0 + row + 3.0 * own[1], tilt + 0.03 * own[2], thickness, depth,
                   half * (1 + skew), half * (1 - skew), depth_shape, width_shape)
    mlo_half = half * np.exp(0.03 * own[3])
    mlo = Placement(150.0 + row + 3.0 * own[4], tilt + 0.03 * own[5], float(np.clip(
        thickness * 1.08 * np.exp(0.06 * rng.standard_normal()), 25.0, 90.0)), float(np.clip(mlo_depth, 40.0, 150.0)),
        mlo_half * (1.00 + skew), mlo_half * (1.19 - skew), depth_shape * 1.08, width_shape)
    return cc, mlo


def _fill(p: float, q: float) -> float:
    """Area under `(1 − u^p)^(1/q)` for u in [0, 1]."""
    u = (np.arange(200) + 0.5) / 200
    return float(np.mean((1 - u**p) ** (1 / q)))


def _muscle(rng: np.random.Generator, mlo: Placement, volume: float) -> tuple[float, float]:
    """Angle [°] to the image edge and length along that edge [mm], bounded to a tenth or so of the breast."""
    angle = 15.0 + float(np.clip(rng.gamma(1.7, 2.3), 0.0, 18.0))
    level = mlo.nipple_row_mm * float(np.clip(rng.normal(0.9, 0.08), 0.65, 1.1))
    area = volume * 1000.0 / (0.9 * mlo.thickness_mm) * 1.12
    share = float(np.clip(rng.normal(0.108, 0.018), 0.055, 0.126))
    return angle, float(min(level, np.sqrt(2 * share * area / np.tan(np.radians(angle)))))


def _masses(rng: np.random.Generator) -> tuple[Mass, ...]:
    lumps = [Mass(rng.uniform(0.25, 0.8), rng.uniform(-0.45, 0.45), rng.uniform(-0.45, 0.45), rng.uniform(4.0, 9.0),
                  rng.uniform(0.5, 1.0)) for _ in range(min(3, int(rng.poisson(0.7))))]
    specks = [Mass(rng.uniform(0.2, 0.85), rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(0.6, 1.3),
                   rng.uniform(0.6, 1.0), calcified=True) for _ in range(int(rng.poisson(1.2)))]
    return (*lumps, *specks)


@cache
def _unit_axes() -> tuple[np.ndarray, ...]:
    depth, wide, high = ((np.arange(voxels) + 0.5) / voxels for voxels in VOLUME_SHAPE)
    return np.ix_(depth, wide * 2 - 1, high * 2 - 1)


@cache
def _volume_filter(exponent: float) -> np.ndarray:
    depth, wide, high = VOLUME_SHAPE
    u, v, w = np.ix_(fft.fftfreq(depth), fft.fftfreq(wide), fft.rfftfreq(high))
    squared = np.maximum(u**2 + v**2 + w**2, (1.2 / wide) ** 2)
    squared[0, 0, 0] = np.inf  # no mean
    return squared ** (-exponent / 4)


@cache
def _duct_coordinates() -> np.ndarray:
    """Voxel coordinates that stretch a field along the rays from the nipple."""
    u, v, w = _unit_axes()
    near = 1.12 - u
    return np.stack(np.broadcast_arrays(10.0 * np.sqrt(near**2 + v**2 + w**2), 40 + 26 * v / (0.25 + near),
                                        40 + 26 * w / (0.25 + near)))


def _power_law(rng: np.random.Generator, exponent: float) -> np.ndarray:
    noise = fft.rfftn(rng.standard_normal(VOLUME_SHAPE))
    field = fft.irfftn(noise * _volume_filter(exponent), VOLUME_SHAPE)
    return field / field.std()


def gland_volume(breast: Breast) -> np.ndarray:
    """Glandular fraction in the unit half-ball: `VOLUME_SHAPE` float64 whose mean over it is `breast.density`."""
    return _gland_volume(breast.key, breast.density, breast.roughness)


@lru_cache(maxsize=2)
def _gland_volume(key: tuple[int, ...], density: float, roughness: float) -> np.ndarray:
    """Of a breast's tissue alone, so that exposures of one breast share it."""
    rng = np.random.default_rng([*key, 1])
    exponent = round(TEXTURE_EXPONENT + roughness, 1)
    texture, ducts = _power_law(rng, exponent), _power_law(rng, exponent)
    ducts = map_coordinates(ducts, _duct_coordinates(), order=1, mode="grid-wrap")
    u, v, w = _unit_axes()
    centre = rng.uniform(-0.12, 0.12, 2)
    cone = ((v - centre[0]) ** 2 + (w - centre[1]) ** 2) / (0.20 + 0.75 * (1 - u)) ** 2 + ((u - 0.62) / 0.42) ** 2
    field = 0.85 * texture + 0.75 * ducts - 1.1 * np.minimum(cone, 4.0)
    inside = (u**2 + v**2 + w**2) < 1
    cut = np.quantile(field[inside], 1 - density)
    gland = 1 / (1 + np.exp(-np.clip((field - cut) / 0.12, -30, 30)))
    strands = 0.16 * np.exp(-(((texture - 0.5 * ducts) / 0.12) ** 2))
    gland = np.minimum(gland + strands * (1 - gland), 1.0)
    return gland * (density / gland[inside].mean())
