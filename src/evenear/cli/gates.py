# SPDX-License-Identifier: Apache-2.0
"""Judge the conditions of `--fail-if`, and say how close they came."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evenear.cli.console import note

if TYPE_CHECKING:
    from evenear.audit.report import Condition

__all__ = ["any_holds"]


def any_holds(report: Any, conditions: Sequence["Condition"]) -> bool:
    """Say of each condition whether it holds for an audit; return whether any does."""
    held = False
    for condition in conditions:
        verdict = condition.judge(report)
        values = ", ".join(f"{name} is {value:.4g}" for name, value in verdict.values)
        close = "; close: " + ", ".join(verdict.close) if verdict.close else ""
        note(f"{'FAILED' if verdict.holds else 'passed'}: {condition.text} ({values}{close})")
        held = held or verdict.holds
    return held
