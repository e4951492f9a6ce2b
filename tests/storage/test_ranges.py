"""Byte ranges -> requests: all bytes wanted are in one, and few others are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.storage.ranges import (
    COALESCE_GAP_BYTES,
    MAX_REQUEST_BYTES,
    ByteRange,
    Request,
    coalesce,
)

ranges = st.lists(
    st.builds(ByteRange, st.integers(0, 200_000), st.integers(0, 5_000)), max_size=40,
)


def test_nothing_wanted_is_nothing_asked():
    assert coalesce([]) == []


def test_one_range_is_asked_for_as_it_is():
    assert coalesce([ByteRange(7, 9)]) == [Request(ByteRange(7, 9), (0,))]


def test_ranges_that_touch_share_a_request():
    assert coalesce([ByteRange(0, 10), ByteRange(10, 5)]) == [Request(ByteRange(0, 15), (0, 1))]


def test_ranges_up_to_the_gap_apart_share_a_request():
    near = [ByteRange(0, 10), ByteRange(10 + COALESCE_GAP_BYTES, 5)]
    far = [ByteRange(0, 10), ByteRange(11 + COALESCE_GAP_BYTES, 5)]
    assert len(coalesce(near)) == 1
    assert len(coalesce(far)) == 2


def test_requests_grow_no_larger_than_the_limit():
    half = MAX_REQUEST_BYTES // 2
    fits = [ByteRange(0, half), ByteRange(half, half)]
    grows = [ByteRange(0, half), ByteRange(half, half + 1)]
    assert len(coalesce(fits)) == 1
    assert len(coalesce(grows)) == 2


def test_one_range_beyond_the_limit_is_still_one_request():
    huge = ByteRange(0, 3 * MAX_REQUEST_BYTES)
    assert coalesce([huge]) == [Request(huge, (0,))]


def test_a_range_inside_a_huge_one_shares_its_request():
    huge = ByteRange(0, 3 * MAX_REQUEST_BYTES)
    assert coalesce([ByteRange(100, 5), huge]) == [Request(huge, (1, 0))]


def test_the_same_range_twice_is_asked_for_once():
    assert coalesce([ByteRange(3, 4)] * 2) == [Request(ByteRange(3, 4), (0, 1))]


@given(ranges)
def test_each_range_is_in_exactly_one_request_and_whole(wanted):
    members = [(index, request.span) for request in coalesce(wanted) for index in request.wanted]
    assert sorted(index for index, _ in members) == list(range(len(wanted)))
    for index, span in members:
        assert span.offset <= wanted[index].offset
        assert wanted[index].end <= span.end


@given(ranges)
def test_requests_hold_no_unwanted_run_longer_than_the_gap(wanted):
    for request in coalesce(wanted):
        end = request.span.offset
        for member in sorted(wanted[index] for index in request.wanted):
            assert member.offset - end <= COALESCE_GAP_BYTES
            end = max(end, member.end)
        assert end == request.span.end


@given(ranges, st.randoms(use_true_random=False))
def test_the_order_of_the_ranges_does_not_matter(wanted, random):
    shuffled = random.sample(wanted, len(wanted))
    assert [r.span for r in coalesce(wanted)] == [r.span for r in coalesce(shuffled)]


@given(ranges)
def test_requests_run_from_the_files_start_to_its_end(wanted):
    offsets = [request.span.offset for request in coalesce(wanted)]
    assert offsets == sorted(offsets)
