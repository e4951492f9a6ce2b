"""Planned tiles -> the blocks that are to be read: the same for a plan and for a run."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from rasteret_beam.elements import Batch, BlockRows, TileBlockKey, TilePoints
from rasteret_beam.fetching import merging, progress
from rasteret_beam.output.earlier import EarlierRun, KeptRows
from rasteret_beam.transforms._panes import check_global
from rasteret_beam.transforms.plan_tiles import Planned

Block = tuple[TileBlockKey, Iterable[Batch]]
"""All that is planned under one key, in one window and pane."""

GONE_ON_FROM = "An earlier run can be gone on from ('earlier', 'kept')"


class BlocksToDo(NamedTuple):
    """What is to be read, and what need not be.

    Attributes:
        blocks: What is to be read.
        kept: What was left out of them; None where nothing was.
    """

    blocks: beam.PCollection[Block]
    kept: beam.PCollection[KeptRows] | None


def blocks_to_do(
    planned: beam.PCollection[Planned], earlier: beam.PCollection[EarlierRun] | None,
) -> BlocksToDo:
    """Groups by block, and leaves out what an earlier run did.

    That is a block whose rows are planned now as they were then. All is planned before
    that is known, since points may need tiles of blocks beside their own.

    Args:
        planned: What ``PlanTiles`` gives.
        earlier: What ``ReadEarlierRun`` found; None where all is to be done.

    Raises:
        OptionError: Points in windows, of which an earlier run tells nothing.
    """
    blocks = planned | "GroupByBlock" >> beam.GroupByKey()
    if earlier is None:
        return BlocksToDo(blocks, None)
    check_global(planned, GONE_ON_FROM)
    rows = blocks | "RowsThere" >> beam.FlatMap(
        _rows_there, AsSingleton(earlier),
    ).with_output_types(BlockRows)
    kept = earlier | "Keep" >> beam.Map(_keep, AsList(rows)).with_output_types(KeptRows)
    left = beam.Map(_left_to_do, AsSingleton(kept)).with_output_types(Block)
    return BlocksToDo(blocks | "LeftToDo" >> left, kept)


def _rows_there(block: Block, earlier: EarlierRun) -> Iterator[BlockRows]:
    """What the rows of a block are, where an earlier run has just these."""
    key, elements = block
    if earlier.knows(key):
        messages, _ = _apart(elements)
        rows = progress.block_rows(key, merging.merge(messages))
        if earlier.has(rows):
            yield rows


def _keep(earlier: EarlierRun, planned: list[BlockRows]) -> KeptRows:
    return earlier.keep(planned)


def _left_to_do(block: Block, kept: KeptRows) -> Block:
    key, elements = block
    messages, rows = _apart(elements)
    return key, [*rows, *progress.left_to_do(key, messages, kept.is_done)]


def _apart(elements: Iterable[Batch]) -> tuple[list[TilePoints], list[Batch]]:
    """Points that need tiles, and rows that need none."""
    messages: list[TilePoints] = []
    rows: list[Batch] = []
    for element in elements:
        if isinstance(element, TilePoints):
            messages.append(element)
        else:
            rows.append(element)
    return messages, rows
