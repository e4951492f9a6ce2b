"""How to sample: the choices a user makes, checked once."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable

from rasteret_beam.errors import OptionError

MATCHES = ("all", "latest")
NEIGHBOURHOODS = ("off", "always", "if_center_nodata")
UNMATCHED = ("omit", "emit")
MAX_DISTANCE_PIXELS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class SampleOptions:
    """What to sample, as rasteret's ``sample_points`` names it.

    Attributes:
        bands: Names of the bands, in the order wanted; any sequence of them.
        match: ``all`` gives a row for every record whose bbox holds the point;
            ``latest`` the newest such record per band, decided from metadata alone.
        max_distance_pixels: How far (Chebyshev) to look for a valid pixel where the
            point's own is nodata; 0 keeps nodata.
        return_neighbourhood: Whether rows carry the (2r + 1)^2 pixels around the
            point's: ``off``, ``always``, or ``if_center_nodata``.
        unmatched: ``omit`` gives rows for samples only, in exactly rasteret's schema;
            ``emit`` adds a ``status`` column, and at least one row for every point.

    Raises:
        OptionError: A value that cannot work.
    """

    bands: tuple[str, ...]
    match: str = "all"
    max_distance_pixels: int = 0
    return_neighbourhood: str = "off"
    unmatched: str = "omit"

    def __post_init__(self) -> None:
        """Checks every value; rasteret's messages where it has one."""
        given: object = self.max_distance_pixels
        if isinstance(given, bool) or not isinstance(given, numbers.Integral):
            msg = f"max_distance_pixels must be a whole number, got {given!r}"
            raise OptionError(msg)
        radius = int(given)
        if self.return_neighbourhood not in NEIGHBOURHOODS:
            msg = (
                "return_neighbourhood must be one of: 'off', 'always', 'if_center_nodata'; "
                f"got {self.return_neighbourhood!r}"
            )
            raise OptionError(msg)
        if self.return_neighbourhood != "off" and radius == 0:
            msg = "max_distance_pixels must be > 0 when return_neighbourhood is enabled, got 0"
            raise OptionError(msg)
        if not 0 <= radius <= MAX_DISTANCE_PIXELS:
            msg = f"max_distance_pixels must be >= 0 and <= {MAX_DISTANCE_PIXELS}, got {radius}"
            raise OptionError(msg)
        if self.match not in MATCHES:
            msg = f"match must be either 'all' or 'latest', got {self.match!r}"
            raise OptionError(msg)
        if self.unmatched not in UNMATCHED:
            msg = f"unmatched must be either 'omit' or 'emit', got {self.unmatched!r}"
            raise OptionError(msg)
        object.__setattr__(self, "bands", band_names(self.bands))
        # numpy's would wrap around where windows are counted.
        object.__setattr__(self, "max_distance_pixels", radius)

    @property
    def with_status(self) -> bool:
        """Whether rows carry a status, and points without a sample a row."""
        return self.unmatched == "emit"

    @property
    def with_neighbourhood(self) -> bool:
        """Whether rows carry the pixels around the point's."""
        return self.return_neighbourhood != "off"

    @property
    def window_pixels(self) -> int:
        """Pixels in a window, (2r + 1)^2."""
        return (2 * self.max_distance_pixels + 1) ** 2


def band_names(bands: object) -> tuple[str, ...]:
    """Gives the names of bands that a caller wants.

    Raises:
        OptionError: None, one twice, or no names: a text is not a list of its letters.
    """
    wanted = "expected names like ['B04', 'B08']"
    if isinstance(bands, str):
        msg = f"bands is the one text {bands!r}; {wanted}, [{bands!r}] for one band"
        raise OptionError(msg)
    if not isinstance(bands, Iterable):
        msg = f"bands is {bands!r}; {wanted}"
        raise OptionError(msg)
    names = tuple(bands)
    if not names:
        msg = f"bands is empty; {wanted}"
        raise OptionError(msg)
    if not all(isinstance(name, str) for name in names):
        msg = f"bands is {list(names)}; {wanted}"
        raise OptionError(msg)
    if len(set(names)) != len(names):
        msg = f"Each band once, please; got {list(names)}"
        raise OptionError(msg)
    return names
