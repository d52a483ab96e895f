# SPDX-License-Identifier: Apache-2.0
"""Find the kinds of voices that a recognizer fails, from embeddings, without asking who speaks.

Each speaker's embeddings are averaged, every number is brought to the same scale, and speakers fall
into clusters (k-means) that know nothing of errors. Clusters of too few speakers are dissolved into
their neighbors. The centers are then frozen: any other speaker belongs to the nearest one, and what
is reported is measured on such others.

Some cluster is always the worst. So each search also deals the same speakers' results out at
random, many times, and says how bad the worst cluster is then: clusters of random embeddings would
look just like that (see `ranking`, also for how many clusters there are).

A cohort of voices is a likeness of sound. What else its speakers share is described in words, from
the attributes of the table.

Legend: S speakers, D numbers of an embedding, K clusters.

Source: P. Dheram et al., "Toward fairness in speech recognition: discovery and mitigation of
performance disparities", 2022, https://arxiv.org/abs/2207.11345 (speaker embeddings, clusters,
ranked by difficulty; its bottom cohort holds 10 % of the speakers).
Departs from the paper: as many clusters as show most, where the paper seems to have 50; our reading
of the rest.
"""

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from evenear.audit.discovery.characterization import characterize
from evenear.audit.discovery.rules import CohortName, Rule
from evenear.audit.discovery.voice.clusters import cluster, nearest, plane, scaled
from evenear.audit.discovery.voice.embeddings import speaker_vectors
from evenear.audit.discovery.voice.ranking import rank_clusters
from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.tables.table import Table
from evenear.config import config, replace
from evenear.errors import CohortError
from evenear.seeding import rng_for

__all__ = ["VoiceCohort", "VoiceSettings", "Voices", "find_voices"]

_ATTRIBUTE, _TIER = "voice", "voice tier"
_HARDEST, _EASIEST, _BETWEEN = "hardest voices", "easiest voices", "voices between"

_NUMBERS = (2, 3, 4, 6, 8, 12, 16, 24, 36, 50)
"""Numbers of cohorts that are tried; the paper has 50."""

_NOT_WHO = (
    "Voices are grouped by sound alone. What the speakers of a group have in common is an "
    "observation, not a reason for errors, and says nothing about any one of them."
)


@config
class VoiceSettings:
    """How many kinds of voices, and how they are judged."""

    num_cohorts: int | None = Field(default=None, ge=2)
    """2 to 50 are tried, and the number with the surest cohort is taken, if None."""
    min_speakers: int = Field(default=20, ge=2)
    tier_share: float = Field(default=0.1, gt=0, le=0.5)
    """The hardest (and easiest) clusters are joined until they hold this share of speakers."""
    num_permutations: int = Field(default=199, ge=19)


@config
class VoiceCohort:
    """One cluster, as the discovery speakers saw it; `center` is in scaled numbers."""

    value: str
    center: tuple[float, ...]
    speakers: int
    tier: str
    remarks: tuple[str, ...] = ()
    """What sets its speakers apart, in words."""


@config
class Voices(Rule):
    """Centers of clusters of voices, the worst served first, and how to scale an embedding."""

    cohorts: tuple[VoiceCohort, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    """Scaled embedding = (embedding - shift) * scale, then brought to length 1."""
    axes: tuple[tuple[float, ...], ...]
    """Two directions in which discovery speakers differ most: the plane to draw."""
    num_speakers: int
    num_divisions: int = 0
    """Numbers of cohorts that were tried."""
    worst_gap: float | None = None
    """Gap of the worst cluster among discovery speakers."""
    control_gap: float | None = None
    """The same with results dealt out at random: the mean, …"""
    control_gap_high: float | None = None
    """… and what 19 of 20 such deals stay below."""
    p_adjusted: float | None = None
    """Of the surest cluster among all clusters, among discovery speakers."""

    @property
    def found_by(self) -> Literal["voice"]:
        """Embeddings of voices."""
        return "voice"

    @property
    def summary(self) -> str:
        """One sentence: what was searched, and what came of it."""
        searched = f"Voices of {self.num_speakers:,} discovery speakers"
        if not self.cohorts:
            return f"{searched} are too few for two cohorts."
        text = f"{searched} fell into {len(self.cohorts)} cohorts of alike voices"
        if self.worst_gap is None or self.control_gap is None:
            return f"{text}."
        return (
            f"{text}; the worst served erred {100 * self.worst_gap:+.0f} % beside the others, with "
            f"results dealt out at random {100 * self.control_gap:+.0f} % (19 of 20 times below "
            f"{100 * (self.control_gap_high or 0.0):+.0f} %; max-T p of the surest = "
            f"{self.p_adjusted:.2g})."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """That sound is not identity."""
        return (_NOT_WHO,) if self.cohorts else ()

    def assign(self, table: Table) -> Cohorts:
        """The nearest cohort of each speaker, and its tier; unknown without an embedding.

        Only the hardest quarter of the cohorts is to be reported on: each row more makes it harder
        to confirm any.
        """
        if not self.cohorts:
            return Cohorts()
        speakers, scaled_SD = self._scaled(table)
        rows_S = nearest(scaled_SD, self._centers())
        values = pl.Series([self.cohorts[row].value for row in rows_S], dtype=pl.String)
        tiers = pl.Series([self.cohorts[row].tier for row in rows_S], dtype=pl.String)
        hardest = tuple(one.value for one in self.cohorts[: -(-len(self.cohorts) // 4)])
        cohorts = Cohorts((self._assignment(_ATTRIBUTE, speakers, values, hardest),))
        if not self._has_tiers:
            return cohorts
        reported = (_HARDEST, _EASIEST)
        return cohorts + Cohorts((self._assignment(_TIER, speakers, tiers, reported),))

    def describe(self) -> dict[CohortName, str]:
        """One line in words for each cohort."""
        nothing = "nothing in the table sets these speakers apart"
        found = {
            CohortName(_ATTRIBUTE, one.value): "; ".join(one.remarks) or nothing
            for one in self.cohorts
        }
        if self._has_tiers:
            for tier in (_HARDEST, _EASIEST):
                names = ", ".join(one.value for one in self.cohorts if one.tier == tier)
                found[CohortName(_TIER, tier)] = f"{names} together"
        return found

    def project(self, table: Table) -> pl.DataFrame:
        """Each speaker as a point of the plane, without names: columns x, y, value.

        In the order of x, so that the order tells no one's name either.
        """
        _, scaled_SD = self._scaled(table)
        rows_S = nearest(scaled_SD, self._centers())
        plane_S2 = scaled_SD @ np.array(self.axes).T
        values = pl.Series([self.cohorts[row].value for row in rows_S], dtype=pl.String)
        points = pl.DataFrame({"x": plane_S2[:, 0], "y": plane_S2[:, 1], "value": values})
        return points.sort("x", "y")

    @property
    def _has_tiers(self) -> bool:
        tiers = [one.tier for one in self.cohorts]
        return max(tiers.count(_HARDEST), tiers.count(_EASIEST)) > 1

    def _assignment(
        self, attribute: str, speakers: pl.Series, values: pl.Series, reported: tuple | None
    ) -> Assignment:
        frame = pl.DataFrame({"speaker": speakers, "value": values})
        return Assignment(attribute, frame, self.found_by, reported)

    def _centers(self) -> np.ndarray:
        return np.array([one.center for one in self.cohorts])

    def _scaled(self, table: Table) -> tuple[pl.Series, np.ndarray]:
        speakers, vectors_SD = speaker_vectors(table)
        if vectors_SD.shape[1] != len(self.shift):
            raise CohortError(
                f"These voices were found with embeddings of {len(self.shift)} numbers; this "
                f"table's have {vectors_SD.shape[1]}.",
                hint="Take the same encoder for both.",
            )
        return speakers, scaled(vectors_SD, np.array(self.shift), np.array(self.scale))


def find_voices(table: Table, settings: VoiceSettings | None = None, *, seed: int = 0) -> Voices:
    """Find kinds of voices, and rank them by how badly they are served.

    Args:
        table: Discovery speakers, with embeddings.
        settings: How many kinds, and how they are judged.
        seed: Decides where clustering starts, and the random deals.

    Raises:
        TableError: The table has no embeddings.
    """
    settings = settings or VoiceSettings()
    speakers, vectors_SD = speaker_vectors(table.only_speakers(table.speakers["speaker"]))
    shift_D, spread_D = vectors_SD.mean(axis=0), vectors_SD.std(axis=0)
    scale_D = np.where(spread_D > 1e-9, 1.0 / np.maximum(spread_D, 1e-9), 0.0)
    scaled_SD = scaled(vectors_SD, shift_D, scale_D)
    found = Voices(
        cohorts=(),
        shift=tuple(shift_D.tolist()),
        scale=tuple(scale_D.tolist()),
        axes=plane(scaled_SD),
        num_speakers=len(speakers),
    )
    rng = rng_for(seed, "voices")
    centers = _divisions(scaled_SD, settings, rng)
    if not centers:
        return found
    counts = pl.DataFrame({"speaker": speakers}).join(
        table.speakers, on="speaker", how="left", maintain_order="left"
    )
    errors_S, words_S = (counts[name].cast(pl.Float64).to_numpy() for name in ("errors", "words"))
    ranked = rank_clusters(
        [nearest(scaled_SD, centers_KD) for centers_KD in centers],
        errors_S,
        words_S,
        rng,
        num_permutations=settings.num_permutations,
    )
    centers_KD = centers[ranked.chosen][ranked.order_K]
    return replace(
        found,
        cohorts=_cohorts(table, speakers, centers_KD, nearest(scaled_SD, centers_KD), settings),
        num_divisions=len(centers),
        worst_gap=ranked.worst_gap,
        control_gap=ranked.control_gap,
        control_gap_high=ranked.control_gap_high,
        p_adjusted=ranked.p_adjusted,
    )


def _divisions(
    scaled_SD: np.ndarray, settings: VoiceSettings, rng: np.random.Generator
) -> list[np.ndarray]:
    """Centers of the clusters of each number of cohorts to be tried, without repetitions."""
    most = len(scaled_SD) // settings.min_speakers
    if not scaled_SD.any():
        return []
    found: dict[int, np.ndarray] = {}
    for number in (settings.num_cohorts,) if settings.num_cohorts else _NUMBERS:
        if number <= most:
            centers_KD = cluster(scaled_SD, number, settings.min_speakers, rng)
            found.setdefault(len(centers_KD), centers_KD)
    return [centers_KD for size, centers_KD in sorted(found.items()) if size >= 2]


def _cohorts(
    table: Table,
    speakers: pl.Series,
    centers_KD: np.ndarray,
    rows_S: np.ndarray,
    settings: VoiceSettings,
) -> tuple[VoiceCohort, ...]:
    """Clusters, worst first, as cohorts with names, tiers and remarks."""
    digits = len(str(len(centers_KD)))
    values = [f"voice {k:0{digits}d}" for k in range(1, len(centers_KD) + 1)]
    names_S = pl.Series([values[row] for row in rows_S], dtype=pl.String)
    frame = pl.DataFrame({"speaker": speakers, "value": names_S})
    remarks = characterize(table, Assignment(_ATTRIBUTE, frame))
    sizes_K = np.bincount(rows_S, minlength=len(values))
    tiers = _tiers(sizes_K, settings.tier_share)
    return tuple(
        VoiceCohort(
            value=value,
            center=tuple(center_D.tolist()),
            speakers=int(size),
            tier=tier,
            remarks=remarks.get(value, ()),
        )
        for value, center_D, size, tier in zip(values, centers_KD, sizes_K, tiers, strict=True)
    )


def _tiers(sizes_K: np.ndarray, share: float) -> list[str]:
    """The tier of each cluster, worst first: from both ends until a share of speakers is in."""
    tiers = [_BETWEEN] * len(sizes_K)
    enough = share * sizes_K.sum()
    for name, order in ((_HARDEST, range(len(tiers))), (_EASIEST, reversed(range(len(tiers))))):
        held = 0
        for k in order:
            if held >= enough or tiers[k] != _BETWEEN:
                break
            tiers[k], held = name, held + int(sizes_K[k])
    return tiers
