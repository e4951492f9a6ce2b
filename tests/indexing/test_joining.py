"""Which earlier rows are an item's own, which stay, and what stands in for a file."""

import json

import numpy as np
import pytest

from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef, Item
from rasteret_beam.indexing.joining import clash_letter, join_earlier, kept_bands
from rasteret_beam.indexing.rows import pack

FIRST, SECOND = "https://h/1/a.tif", "https://h/2/a.tif"
TABLE = np.array([8], np.int64)


def item(*hrefs, **members):
    assets = {f"B{number}": AssetRef(href, 0) for number, href in enumerate(hrefs, 1)}
    return Item("one", assets, **members)


def row(*hrefs, without=(), **columns):
    """An earlier row with a band a file; bands without metadata where told."""
    bands = {f"B{number}": href for number, href in enumerate(hrefs, 1)}
    values = {
        "id": "one", "datetime": None, "bbox": None, "collection": None,
        "proj:epsg": 32631, "crs": "EPSG:32631", "proj:projjson": None,
        "assets": {band: {"href": href, "band_index": 0} for band, href in bands.items()},
    }  # fmt: skip
    for band, href in bands.items():
        told = {"tile_offsets": TABLE, "tile_byte_counts": TABLE, "dtype": href}
        values[band + "_metadata"] = None if band in without else told
        values[band + "_tiff"] = {"etag": href}
    return pack(values | columns, tuple(bands), typed=True)


def joined(items, rows, *, keep_others=True):
    """(item, places of its own rows, or of those that stay, whether it clashes)."""
    return [
        (
            found.item,
            [rows.index(r) for r in (found.rows if found.item is None else found.own)],
            found.clash is not None,
        )
        for found in join_earlier(items, rows, keep_others=keep_others)
    ]


@pytest.mark.parametrize(
    ("members", "earlier"),
    [
        ({}, {}),
        ({}, {"collection": "x"}),
        ({"collection": "x"}, {"collection": "x"}),
        ({"collection": "x"}, {}),
    ],
)
def test_a_row_is_an_items_own_where_they_share_a_file(members, earlier):
    one, rows = item(FIRST, SECOND, **members), [row(SECOND, **earlier)]
    assert joined([one], rows) == [(one, [0], False)]


def test_a_signature_makes_no_other_file():
    one, rows = item(FIRST + "?sig=2"), [row(FIRST + "?sig=1")]
    assert joined([one], rows) == [(one, [0], False)]


def test_a_question_mark_is_part_of_a_local_files_name():
    one, rows = item("/d/a?1.tif"), [row("/d/a?2.tif")]
    assert joined([one], rows) == [(one, [], True), (None, [0], False)]


@pytest.mark.parametrize("unique_id", [True, False])
def test_where_ids_are_unique_in_a_collection_files_may_have_moved(unique_id):
    one = item(FIRST, collection="x", unique_id=unique_id)
    own, clashes = ([0], False) if unique_id else ([], True)
    assert joined([one], [row(SECOND, collection="x")])[0] == (one, own, clashes)


@pytest.mark.parametrize("unique_id", [True, False])
def test_of_another_collection_a_row_stays_and_the_item_is_indexed(unique_id):
    one = item(FIRST, collection="x", unique_id=unique_id)
    assert joined([one], [row(FIRST, collection="y")]) == [(one, [], False), (None, [0], False)]


def test_an_item_with_a_row_of_its_own_does_not_clash_with_another():
    one, rows = item(FIRST), [row(SECOND), row(FIRST)]
    assert joined([one], rows) == [(one, [1], False), (None, [0], False)]


def test_a_row_stays_where_no_item_owns_it():
    items, rows = [item(FIRST), item(FIRST)], [row(FIRST)]
    assert joined(items, rows) == [(each, [0], False) for each in items]
    assert joined([], rows) == [(None, [0], False)]


def test_where_others_go_nothing_stays_or_clashes():
    one = item(FIRST)
    assert joined([one], [row(SECOND)], keep_others=False) == [(one, [], False)]
    assert joined([], [row(SECOND)], keep_others=False) == []


def test_the_letter_of_a_clash_names_both_without_their_signatures():
    letter = clash_letter(item(FIRST + "?sig=secret"), row(SECOND + "?sig=secret"))
    told = json.loads(letter.element)
    assert [told[name].partition("?")[0] for name in ("href", "earlier")] == [FIRST, SECOND]
    assert SECOND in letter.msg
    assert "secret" not in repr(letter)


def kept(one, now, own, unread):
    rows, n_bands = kept_bands(one, now, own, unread)
    return [r.row() for r in rows], n_bands


def test_a_band_that_cannot_be_read_is_as_it_was():
    before, now = row(FIRST, SECOND), row(FIRST, "https://h/3.tif", without=["B2"], note="new")
    (found,), n_bands = kept(item(FIRST, SECOND), now, [before], ["B2"])
    assert found["assets"]["B2"] == before.row()["assets"]["B2"]
    assert (found["B2_metadata"]["dtype"], found["B2_tiff"]) == (SECOND, {"etag": SECOND})
    assert (found["note"], n_bands) == ("new", 1)


def test_a_band_that_never_was_read_is_none():
    before = row(FIRST, SECOND, without=["B2"])
    now = row(FIRST, SECOND, without=["B2"])
    assert kept(item(FIRST, SECOND), now, [before], ["B2"]) == ([], 0)


def test_a_band_of_another_crs_does_not_come_into_a_row():
    before = row(FIRST, SECOND, **{"proj:epsg": 4326, "crs": "EPSG:4326"})
    now = row(FIRST, SECOND, without=["B2"])
    assert kept(item(FIRST, SECOND), now, [before], ["B2"]) == ([], 0)


def test_an_item_of_which_nothing_can_be_read_keeps_its_rows():
    rows = [row(FIRST), row(FIRST, without=["B1"])]
    assert kept_bands(item(FIRST), None, rows, ["B1"]) == ([rows[0]], 1)


def test_every_band_of_a_file_without_named_bands_is_kept():
    one, before = Item("one", {EVERY_SAMPLE: AssetRef(FIRST)}), row(FIRST, FIRST)
    assert kept_bands(one, None, [before], [EVERY_SAMPLE]) == ([before], 2)
