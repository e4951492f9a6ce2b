"""What to read, for collections of any size: records stay in their files until points come."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import GlobalWindows, TimestampCombiner

from rasteret_beam import collection, memory
from rasteret_beam.collection import Atlas, CollectionQuery, Fragment, Survey
from rasteret_beam.collection.own_atlas import OwnAtlas, atlas_of_process
from rasteret_beam.collection.refreshing import query_digest
from rasteret_beam.elements import DeadLetter, Grid, PointBatch, Record
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import RECORDS_PER_KEY, PlanCounts, Tally, cells
from rasteret_beam.replaying import Replay
from rasteret_beam.transforms._extents import Extents
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed
from rasteret_beam.transforms._panes import check_discarding
from rasteret_beam.transforms.into_windows import stamp_now
from rasteret_beam.transforms.plan_tiles import Planned, finish, first_index
from rasteret_beam.transforms.read_collection import count_letters

CELL_BYTES = 384 * 1024 * 1024
"""Memory that a cell's records would take together.

Smaller cells spread the work wider, and read more row groups twice.
"""

_POINTS_APART_BITS, _PARTS = 20, 16
_CellKey = tuple[int, int]
_Letters = tuple[int, list[DeadLetter]]


@taken_one_by_one
class PlanTilesByCellResult(NamedTuple):
    """Planned tiles, and what of the records cannot be used.

    Attributes:
        planned: As ``PlanTiles`` gives them.
        dead_letters: Records that were read, or bands of them, with unusable or missing
            metadata; once each, in the global window.
    """

    planned: beam.PCollection[Planned]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class PlanTilesByCell(NamedOutputs):
    """Finds the tiles that points need in a collection of any size; ``PlanTiles``'s sibling.

    Records are never shuffled, nor held in memory but a few thousand at a time. A survey
    of their bboxes cuts the Earth into cells; points are grouped by cell, and read the
    records around them from the Parquet files, row group by row group. For points
    without an end each process makes that survey for itself, once: not every engine
    keeps such points waiting for a side input, or makes checkpoints of one.

    Input: ``PointBatch``. Output: ``PlanTilesByCellResult``, whose plan equals that of
    ``PlanTiles``. Windows: those of the points (timestamps become the window's end, as
    after any GroupByKey); a cell's records are read again for each window with points in
    it. Dead letters: as those of ``ReadCollection``, but only of records near points
    (and of all without a bbox): others are not read. Counters: those of ``PlanTiles``;
    ``records_read`` (all that meet the filters), ``records_failed`` and
    ``bands_missing`` (of the dead letters).

    Attributes:
        query: The records to sample.
        options: What to sample.
        only: As for ``PlanTiles``.

    Raises:
        OptionError: Windows accumulate their panes.
        CollectionError: While running: not a collection.
        BandNotFoundError: While running: a band that no record has.
        PointsError: While running: a user column has the name of an output column.
    """

    query: CollectionQuery
    options: SampleOptions
    only: beam.PCollection[Replay] | None = None

    def expand(self, points: beam.PCollection[PointBatch]) -> PlanTilesByCellResult:
        """Surveys the collection, groups the points by cell, plans cell by cell."""
        check_discarding(points, "Points that are grouped by cell")
        surveys = (
            points.pipeline
            | "Query" >> beam.Create([stamp_now(self.query)]).with_output_types(CollectionQuery)
            | "ListFragments" >> beam.FlatMap(collection.list_fragments)
            | "SpreadFragments" >> beam.Reshuffle()
            | "Survey" >> beam.ParDo(
                _SurveyFn(self.query),
            ).with_outputs(DEAD_LETTERS, main="surveys")
        )
        sides: dict[str, AsSingleton] = {}
        if points.is_bounded:
            sides["atlas"] = AsSingleton(
                typed(surveys.surveys, Survey)
                | "Merge" >> beam.CombineGlobally(_MergeFn())
                | "CutCells" >> beam.Map(_make_atlas, CELL_BYTES).with_output_types(Atlas),
            )
        only = {} if self.only is None else {"only": AsSingleton(self.only)}
        outputs = (
            points
            | "ByCell" >> beam.ParDo(_ByCellFn(self.query), **sides)
            .with_output_types(tuple[_CellKey, PointBatch])
            | "GroupByCell" >> beam.GroupByKey()
            | "Plan" >> beam.ParDo(_PlanCellFn(self.query, self.options), **sides, **only)
            .with_outputs(DEAD_LETTERS, main="planned")
        )
        once = (
            outputs[DEAD_LETTERS]
            | "ByRecord" >> beam.Map(_same).with_output_types(_Letters)
            | "Globally" >> _globally(bounded=points.is_bounded)
            | "GroupByRecord" >> beam.GroupByKey()
            | "Once" >> beam.ParDo(_OnceFn()).with_output_types(DeadLetter)
        )
        unplaced = surveys[DEAD_LETTERS] | "Unplaced" >> _globally(bounded=points.is_bounded)
        letters = (unplaced, once) | "DeadLetters" >> beam.Flatten()
        return PlanTilesByCellResult(typed(outputs.planned, Planned), letters)


def _same(letters: _Letters) -> _Letters:
    """Gives a tagged output its type."""
    return letters


def _globally(*, bounded: bool) -> beam.WindowInto:
    """The global window; points without an end do not wait for it."""
    if bounded:
        return beam.WindowInto(GlobalWindows())
    return beam.WindowInto(
        GlobalWindows(),
        trigger=Repeatedly(AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        # Not the end of all time, which is that of the window.
        timestamp_combiner=TimestampCombiner.OUTPUT_AT_EARLIEST,
    )


class _SurveyFn(beam.DoFn):
    def __init__(self, query: CollectionQuery) -> None:
        self._query = query
        self._counters = Counters("records_read", "records_failed")

    def process(self, fragment: Fragment) -> Iterator[Any]:
        survey, unplaced = collection.survey_fragment(self._query, fragment)
        self._counters.add("records_read", survey.n_records)
        for found in collection.read_rows(self._query, fragment, unplaced):
            yield from dead_letter_outputs(found.dead_letters, self._counters, "records_failed")
        yield survey


class _MergeFn(beam.CombineFn):
    def create_accumulator(self) -> list[Survey]:
        return []

    def add_input(self, surveys: list[Survey], survey: Survey) -> list[Survey]:
        return [collection.merge([*surveys, survey])]

    def merge_accumulators(self, several: Iterable[list[Survey]]) -> list[Survey]:
        return [collection.merge(survey for surveys in several for survey in surveys)]

    def extract_output(self, surveys: list[Survey]) -> Survey:
        return collection.merge(surveys)


def _make_atlas(survey: Survey, cell_bytes: int) -> Atlas:
    return collection.make_atlas(survey, cell_bytes, RECORDS_PER_KEY)


class _WithAtlasFn(beam.DoFn):
    """Takes the atlas that it is handed, or else makes its process's own."""

    def __init__(self, query: CollectionQuery) -> None:
        self._query, self._name = query, query_digest(query)

    def setup(self) -> None:
        memory.keep_freed()
        self._own: OwnAtlas | None = None

    def _which(self, handed: Atlas | None) -> Atlas:
        if handed is not None:
            return handed
        if self._own is None:
            self._own = atlas_of_process(self._query, self._name, CELL_BYTES, RECORDS_PER_KEY)
        return self._own.atlas


class _ByCellFn(_WithAtlasFn):
    def setup(self) -> None:
        super().setup()
        self._atlas: Atlas | None = None

    def process(
        self, batch: PointBatch, atlas: Atlas | None = None,
    ) -> Iterator[tuple[_CellKey, PointBatch]]:
        atlas = self._which(atlas)
        if atlas is not self._atlas:
            self._atlas, self._cells = atlas, atlas.cells()
        # A crowded cell is planned in several places, some 1e6 points at each.
        part = (first_index(batch) >> _POINTS_APART_BITS) % _PARTS
        cell_of = functools.partial(collection.cell_numbers, self._cells)
        for cell, points in cells.split_by_cell(batch, cell_of):
            yield (cell, part), points


class _PlanCellFn(_WithAtlasFn):
    def __init__(self, query: CollectionQuery, options: SampleOptions) -> None:
        super().__init__(query)
        self._options = options
        self._counters, self._extents = Counters(*PlanCounts._fields), Extents()

    def process(
        self,
        group: tuple[_CellKey, Iterable[PointBatch]],
        atlas: Atlas | None = None,
        only: Replay | None = None,
    ) -> Iterator[Any]:
        (cell, _), batches = group
        atlas = self._which(atlas)
        for joined in cells.join_batches(batches):
            tallies = [Tally(batch, self._options, only) for batch in joined]
            letters: list[_Letters] = []
            records = self._records(cell, tallies, atlas, letters)
            yield from cells.plan_cell(
                tallies, cells.in_chunks(records), self._options, _group_of(atlas),
            )
            for found in letters:
                yield TaggedOutput(DEAD_LETTERS, found)
            for tally in tallies:
                self._extents.tell(tally, functools.partial(_boxes, atlas))
                yield from finish(tally, self._counters)

    def _records(
        self, cell: int, tallies: list[Tally], atlas: Atlas, letters: list[_Letters],
    ) -> Iterator[Record]:
        if cell == cells.NOWHERE:
            return
        where = cells.whereabouts(tallies)
        if cell == cells.ANYWHERE:
            near, in_crs = None, where.crs
        else:
            near, in_crs = collection.Near(where.lon, where.lat), None
        for found in collection.read_near(self._query, atlas, near, in_crs):
            if found.dead_letters:
                letters.append((found.ordinal, found.dead_letters))
            if found.record is not None:
                yield found.record


def _boxes(atlas: Atlas) -> np.ndarray:
    return np.concatenate([np.zeros((0, 4)), *(groups.boxes for groups in atlas.files)])


def _group_of(atlas: Atlas) -> Callable[[Record, Grid], int]:
    return lambda record, _: atlas.group_of(
        record.info.datetime_us, record.info.ordinal, RECORDS_PER_KEY,
    )


class _OnceFn(beam.DoFn):
    """A record that was read for several cells tells once what is wrong with it."""

    def __init__(self) -> None:
        self._counters = Counters("records_failed", "bands_missing")

    def process(
        self,
        group: tuple[int, Iterable[list[DeadLetter]]],
        pane: Any = beam.DoFn.PaneInfoParam,  # noqa: ANN401 -- Beam's pane
    ) -> Iterator[DeadLetter]:
        if not pane.is_first:
            return
        letters = next(iter(group[1]), [])
        count_letters(letters, self._counters)
        yield from letters
