"""What to read: points x records -> the tiles of each block, and the points they serve."""

from rasteret_beam.elements import PlanCounts
from rasteret_beam.planning.planner import NO_TILE, RECORDS_PER_KEY, Plan, Planner, Tally

__all__ = ["NO_TILE", "RECORDS_PER_KEY", "Plan", "PlanCounts", "Planner", "Tally"]
