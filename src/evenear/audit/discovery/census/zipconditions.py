# SPDX-License-Identifier: Apache-2.0
"""What ZIP codes are divided by: conditions on the census, with thresholds fixed beforehand.

Shares of ethnic groups are cut at one half (majority). Medians and shares of other kinds are cut
where a quarter, a half or three quarters of the US population live below. So no threshold is tuned
to anybody's errors, and each can be said in words.
"""

from functools import cache
from typing import Literal

import polars as pl

from evenear.audit.discovery.census.zipcodes import share_below, zip_table
from evenear.config import config

__all__ = ["ZipCondition", "census_conditions", "zip_members"]

_MAJORITIES = {
    "pct_white": "White, not Hispanic",
    "pct_black": "Black",
    "pct_hispanic": "Hispanic",
    "pct_asian": "Asian",
    "pct_native_american": "Native American",
}

_QUARTILES: dict[str, tuple[str, Literal["dollars", "share", "number"]]] = {
    "median_household_income": ("median household income", "dollars"),
    "pct_below_poverty": ("share of people below the poverty line", "share"),
    "pct_bachelors_or_higher": ("share of adults with a bachelor's degree", "share"),
    "median_age": ("median age", "number"),
    "pct_65_plus": ("share of people of 65 years and more", "share"),
    "population_density": ("people per square mile", "number"),
}

_REGIONS = ("Midwest", "Northeast", "South", "West")


@config
class ZipCondition:
    """One condition on a column of the ZIP table: at least, below, or equal."""

    column: str
    text: str
    at_least: float | None = None
    below: float | None = None
    equals: str | None = None

    def mask(self) -> pl.Expr:
        """Whether it holds; null where the census does not say."""
        column = pl.col(self.column)
        if self.equals is not None:
            return column == self.equals
        if self.at_least is not None:
            return column >= self.at_least
        return column < self.below


@cache
def census_conditions() -> tuple[ZipCondition, ...]:
    """Everything that ZIP codes are divided by, and the opposite of each."""
    return (*_majorities(), *_quartiles(), *_regions())


def zip_members(conditions: tuple[ZipCondition, ...]) -> pl.DataFrame:
    """Whether each condition holds for each ZIP code: columns zip, 0, 1 and so on."""
    masks = [one.mask().alias(str(k)) for k, one in enumerate(conditions)]
    return zip_table().select("zip", *masks)


def _majorities() -> list[ZipCondition]:
    found = []
    for column, group in _MAJORITIES.items():
        above, below = f"more than half of the people are {group}", f"at most half are {group}"
        just_above = 0.5 + 1e-9
        found.append(ZipCondition(column=column, text=above, at_least=just_above))
        found.append(ZipCondition(column=column, text=below, below=just_above))
    return found


def _quartiles() -> list[ZipCondition]:
    found = []
    for column, (name, kind) in _QUARTILES.items():
        for share in (0.25, 0.5, 0.75):
            cut = share_below(column, share)
            number = {"dollars": f"${cut:,.0f}", "share": f"{cut:.1%}", "number": f"{cut:,.0f}"}[
                kind
            ]
            at_least, below = f"{name} at least {number}", f"{name} below {number}"
            found.append(ZipCondition(column=column, text=at_least, at_least=cut))
            found.append(ZipCondition(column=column, text=below, below=cut))
    return found


def _regions() -> list[ZipCondition]:
    return [
        ZipCondition(column="census_region", text=f"in the {name}", equals=name)
        for name in _REGIONS
    ]
