"""What the ratios of a run are held to."""

import dataclasses
import fnmatch
import statistics


@dataclasses.dataclass(frozen=True)
class Bar:
    """One number of one job against another's, at most or at least as much."""

    tasks: str
    job: str
    what: str
    base: str | None
    limit: float
    at_least: bool = False

    def line(self, task, found):
        """Tells what was found, or None where this was not run."""
        if not fnmatch.fnmatch(task, self.tasks) or not found.get(self.job):
            return None
        if self.base is None:
            value = statistics.median(run[self.what] for run in found[self.job])
            name = f"{self.job}: {self.what}"
        elif found.get(self.base):
            pairs = zip(found[self.job], found[self.base], strict=False)
            value = statistics.median(one[self.what] / other[self.what] for one, other in pairs)
            name = f"{self.what} of {self.job} / {self.base}"
        else:
            return None
        met = value >= self.limit if self.at_least else value <= self.limit
        bound = "at least" if self.at_least else "at most"
        return f"{'met   ' if met else 'MISSED'} {name} is {value:.2f}, {bound} {self.limit:g}"


BARS = (
    *(Bar(task, "beam", "cpu", "floor", 1.25)
      for task in ("s2-1e[56]-uniform", "aef-1e[56]-uniform")),
    Bar("s2-1e6-clusters", "beam", "cpu", "floor", 1.6),
    Bar("s2-1e3-uniform", "beam", "cpu", "floor", 0.6),
    *(Bar(task, "rasteret", what, "beam", limit, at_least=True)
      for task, limit in (("*-1e5-*", 4), ("*-1e6-uniform", 7), ("*-1e6-clusters", 7),
                          ("*-1e6-*-3x3", 20))
      for what in ("cpu", "wall")),
    Bar("[sa]*-1e[56]-uniform", "rasterio", "cpu", "beam", 2, at_least=True),
    Bar("[sa]*-1e[56]-uniform", "async-tiff", "cpu", "beam", 2.3, at_least=True),
    Bar("s2-1e5-*", "beam", "requests_per_tile", None, 1),
    Bar("*", "beam", "bytes_per_tile_byte", None, 1.05),
    Bar("s2-1e6-uniform", "beam", "peak_mb", "rasteret", 0.1),
    Bar("dem-1e3-uniform", "beam", "wall", None, 1.5),
    Bar("s2x*", "1-process-1-core", "wall", "2-processes-2-cores", 1.8, at_least=True),
)  # fmt: skip


def lines(task, found):
    """What each bar that concerns the task says; ``found`` is by job, runs as measured."""
    floor = (found.get("floor") or [None])[0]
    if floor:
        # Requests and bytes are held against the tiles that are needed.
        found = {
            job: [{**run, "requests_per_tile": run["requests"] / floor["tiles"],
                   "bytes_per_tile_byte": run["bytes"] / floor["tile_bytes"]} for run in runs]
            for job, runs in found.items()
        }  # fmt: skip
    told = (
        bar.line(task, found) for bar in BARS if floor or not bar.what.endswith(("_tile", "_byte"))
    )
    return [line for line in told if line]
