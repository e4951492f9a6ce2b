"""The atlas that a process makes for itself, where no other hands it one."""

from __future__ import annotations

import concurrent.futures
import threading
import weakref
from typing import TYPE_CHECKING

from rasteret_beam.collection.atlas import make_atlas
from rasteret_beam.collection.records import list_fragments
from rasteret_beam.collection.survey import merge, survey_fragment

if TYPE_CHECKING:
    from rasteret_beam.collection.atlas import Atlas
    from rasteret_beam.collection.fragments import Fragment
    from rasteret_beam.collection.query import CollectionQuery
    from rasteret_beam.collection.survey import Survey

_FILES_AT_ONCE = 16


class OwnAtlas:
    """An atlas, for as long as somebody holds it.

    Attributes:
        atlas: The atlas.
    """

    __slots__ = ("__weakref__", "atlas")

    def __init__(self, atlas: Atlas) -> None:
        """Holds it."""
        self.atlas = atlas


def atlas_of_process(
    query: CollectionQuery, name: str, cell_bytes: int, records_per_key: int,
) -> OwnAtlas:
    """Surveys a collection, once in each process while somebody holds what comes of it.

    Processes that start at other times may find another collection: their cells are others,
    but those only spread the work.

    Args:
        query: Which records.
        name: ``query_digest`` of it.
        cell_bytes: As for ``make_atlas``.
        records_per_key: As for ``make_atlas``.

    Raises:
        CollectionError: Not a collection.
        BandNotFoundError: A band that no record has.
    """

    def look(fragment: Fragment) -> Survey:
        return survey_fragment(query, fragment)[0]

    key = name, cell_bytes, records_per_key
    with _making:
        held = _atlases.get(key)
        if held is None:
            with concurrent.futures.ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
                survey = merge(pool.map(look, list_fragments(query)))
            held = _atlases[key] = OwnAtlas(make_atlas(survey, cell_bytes, records_per_key))
        return held


_atlases: weakref.WeakValueDictionary[tuple[str, int, int], OwnAtlas] = (
    weakref.WeakValueDictionary()
)
_making = threading.Lock()
