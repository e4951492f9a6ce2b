"""Planned tiles -> the blocks that are to be read: the same for a plan and for a run."""

from collections.abc import Iterable

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from rasteret_beam.elements import Batch, TileBlockKey, TilePoints
from rasteret_beam.fetching import progress
from rasteret_beam.output.earlier import EarlierRun
from rasteret_beam.transforms.plan_tiles import Planned

Block = tuple[TileBlockKey, Iterable[Batch]]
"""All that is planned under one key, in one window and pane."""


def blocks_to_do(
    planned: beam.PCollection[Planned], earlier: beam.PCollection[EarlierRun] | None,
) -> beam.PCollection[Block]:
    """Groups by block, and leaves out what an earlier run did.

    Args:
        planned: What ``PlanTiles`` gives.
        earlier: What ``ReadEarlierRun`` found; None where all is to be done.
    """
    blocks = planned | "GroupByBlock" >> beam.GroupByKey()
    if earlier is None:
        return blocks
    left = beam.Map(_left_to_do, AsSingleton(earlier)).with_output_types(Block)
    return blocks | "LeftToDo" >> left


def _left_to_do(block: Block, earlier: EarlierRun) -> Block:
    key, elements = block[0], list(block[1])
    messages = [element for element in elements if isinstance(element, TilePoints)]
    rows: list[Batch] = [element for element in elements if not isinstance(element, TilePoints)]
    return key, [*rows, *progress.left_to_do(key, messages, earlier.is_done)]
