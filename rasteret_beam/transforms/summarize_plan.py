"""What would be read: planned blocks -> one summary, and a report of it. No pixel is read."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from rasteret_beam.forecast import prices
from rasteret_beam.forecast.budget import Budget
from rasteret_beam.forecast.page import plan_page
from rasteret_beam.forecast.prices import PriceTable
from rasteret_beam.forecast.report import PLAN_HTML, PLAN_JSON, plan_facts, plan_text
from rasteret_beam.forecast.summary import PlanSummary, merge, summarize_block
from rasteret_beam.output.earlier import EarlierRun
from rasteret_beam.storage.addresses import output_folder
from rasteret_beam.transforms._blocks import Block, blocks_to_do
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._panes import check_global
from rasteret_beam.transforms._small_files import read_whole, run_file, write_whole
from rasteret_beam.transforms.plan_tiles import Planned

_MERGED_AT_ONCE = 256


@dataclasses.dataclass(eq=False, kw_only=True)
class SummarizePlan(Displayed):
    """Summarizes what a run would read: tiles, requests, bytes, hosts, hottest tiles.

    From what ``PlanTiles`` gives, grouped and cut into requests by the code that
    ``FetchTiles`` runs: without a failure its counters ``tiles_planned``,
    ``requests`` and ``bytes_fetched`` equal the summary. (Where an index does not tell
    a file's byte order, each process reads four bytes of the file, which neither counts.)

    Input: what ``PlanTiles`` gives. Output: ``PlanSummary``, one for each window with
    points in it; one in any case in the global window. Windows: kept. Dead letters and
    counters: none.

    Attributes:
        earlier: What ``ReadEarlierRun`` found; what it did is not planned again.
    """

    earlier: beam.PCollection[EarlierRun] | None = None

    def expand(self, planned: beam.PCollection[Planned]) -> beam.PCollection[PlanSummary]:
        """Groups by block, as the fetch does, and sums up."""
        return blocks_to_do(planned, self.earlier).blocks | "Sum" >> SumPlan()


class SumPlan(beam.PTransform):
    """Sums up blocks that are grouped already."""

    def expand(self, blocks: beam.PCollection[Block]) -> beam.PCollection[PlanSummary]:
        """Summarizes block by block, then merges."""
        merged = beam.CombineGlobally(_MergeFn())
        if not blocks.windowing.is_default():
            merged = merged.without_defaults()
        return (
            blocks
            | "Summarize" >> beam.Map(_summarize).with_output_types(PlanSummary)
            | "Merge" >> merged.with_output_types(PlanSummary)
        )


def _summarize(block: Block) -> PlanSummary:
    return summarize_block(block[1])


class _MergeFn(beam.CombineFn):
    """Merges many at once: each merge touches all records and bars so far."""

    def create_accumulator(self) -> list[PlanSummary]:
        return []

    def add_input(self, parts: list[PlanSummary], part: PlanSummary) -> list[PlanSummary]:
        parts.append(part)
        return [merge(parts)] if len(parts) >= _MERGED_AT_ONCE else parts

    def merge_accumulators(self, several: Iterable[list[PlanSummary]]) -> list[PlanSummary]:
        return [merge(part for parts in several for part in parts)]

    def extract_output(self, parts: list[PlanSummary]) -> PlanSummary:
        return merge(parts)


@dataclasses.dataclass(eq=False, kw_only=True)
class WritePlan(Displayed):
    """Writes a plan's summary as ``_run/plan.json`` and ``_run/plan.html`` of a folder.

    Input: the one ``PlanSummary`` of the global window. Output: names of the files,
    which appear whole. Dead letters and counters: none.

    Attributes:
        folder: The output that the plan is for.
        job: What the plan is of, like its bands; as JSON has it.
        price_table: For the estimate of cost.
        budget: What is allowed; the report says whether it holds.

    Raises:
        OptionError: Summaries of windows, each of which would replace the last.
        OutputError: While running: the folder cannot be written.
    """

    folder: str
    job: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    price_table: PriceTable = dataclasses.field(default_factory=prices.packaged)
    budget: Budget = dataclasses.field(default_factory=Budget)

    def __post_init__(self) -> None:
        """Takes ``file://`` off the folder."""
        self.folder = output_folder(self.folder)

    def expand(self, summaries: beam.PCollection[PlanSummary]) -> beam.PCollection[str]:
        """Writes both files."""
        check_global(summaries, "A plan is written")
        return summaries | "Write" >> beam.FlatMap(self._write).with_output_types(str)

    def _write(self, summary: PlanSummary) -> Iterator[str]:
        plan = plan_facts(summary, self.job, self.price_table, self.budget)
        text = json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
        for name, content in ((PLAN_JSON, text), (PLAN_HTML, plan_page(plan))):
            path = run_file(self.folder, name)
            write_whole(path, content.encode("utf-8", "replace"))
            yield path


def plan_told(folder: str, _counts: Mapping[str, int], seconds: float) -> str:
    """Gives the lines that tell of the plan that a run wrote, where it can be read from here.

    Args:
        folder: The output that the plan is for.
        seconds: How long it took.
    """
    where = run_file(folder, PLAN_JSON)
    written = f"Written   {where}, {PLAN_HTML} in {seconds:.1f} s"
    try:
        plan = json.loads(read_whole(where))
    except OSError:  # on a worker's own disk
        return written
    return f"{plan_text(plan)}\n{written}"
