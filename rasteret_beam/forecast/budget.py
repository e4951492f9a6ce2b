"""What a run may read at most: held against its plan before the first request."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from rasteret_beam.errors import BudgetError, OptionError

if TYPE_CHECKING:
    from rasteret_beam.forecast.summary import PlanSummary


class Limit(NamedTuple):
    """One limit of a budget, and what a plan makes of it.

    Attributes:
        what: ``tiles``, ``bytes`` or ``requests``.
        planned: What is planned.
        allowed: What the budget allows.
    """

    what: str
    planned: int
    allowed: int

    @property
    def holds(self) -> bool:
        """Whether no more is planned than allowed."""
        return self.planned <= self.allowed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may read at most; None is no limit.

    Attributes:
        max_tiles: Tiles planned, sparse ones too.
        max_bytes: Bytes of the requests.
        max_requests: Requests after merging; what is asked for again after a failure
            is not counted.

    Raises:
        OptionError: A limit is negative.
    """

    max_tiles: int | None = None
    max_bytes: int | None = None
    max_requests: int | None = None

    def __post_init__(self) -> None:
        """Checks the limits."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 0:
                msg = f"{field.name} is {value}, expected 0 or above"
                raise OptionError(msg)

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return self != Budget()

    def limits(self, plan: PlanSummary) -> list[Limit]:
        """Holds a plan against each limit there is."""
        planned = (
            ("tiles", plan.tiles, self.max_tiles),
            ("bytes", plan.n_bytes, self.max_bytes),
            ("requests", plan.requests, self.max_requests),
        )
        return [Limit(what, n, most) for what, n, most in planned if most is not None]

    def check(self, plan: PlanSummary) -> None:
        """Passes a plan that holds every limit.

        Raises:
            BudgetError: It does not.
        """
        broken = [limit for limit in self.limits(plan) if not limit.holds]
        if broken:
            told = "; ".join(
                f"{planned:,} {what} planned, {allowed:,} allowed (max_{what})"
                for what, planned, allowed in broken
            )
            msg = (
                f"Over the budget, nothing was read: {told}. Raise it, or ask for fewer "
                "points, bands or records; plan first (plan_only) to see what costs most"
            )
            raise BudgetError(msg)
