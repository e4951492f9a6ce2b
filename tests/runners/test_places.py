"""What a job reads is never among what it writes, however the two are spelled."""

import pytest

from rasteret_beam.errors import OptionError
from rasteret_beam.runners import places
from rasteret_beam.runners.places import Source

SAMPLES = places.samples_target("--output", "out", "parquet")


def _refusal(source, target):
    try:
        places.check([source], [target])
    except OptionError as error:
        return str(error)
    return None


def _points(value):
    return Source("--points", value)


def _collection(value):
    return Source("--collection", value, places.PARQUET)


def _letters(value):
    return Source("--replay", value, places.LETTERS)


def _samples(folder, output_format="parquet"):
    return places.samples_target("--output", folder, output_format)


@pytest.mark.parametrize(("source", "target"), [
    (_points("out/*.parquet"), _samples("out")),
    (_points("./out/samples-*"), _samples("out/")),
    (_points("**/*.parquet"), _samples("data/out")),
    (_points("out/samples-00003-of-00009.parquet"), _samples("out")),
    (_points("out/samples-00000-of-00001.csv"), _samples("out")),
    (_points("out/*.csv"), _samples("out", "csv")),
    (_points("gs://b/out/*.parquet"), _samples("gs://b/out/")),
    (_points("letters/*.jsonl"), places.letters_target("letters")),
    (_collection("c"), _samples("c")),
    (_collection("c/"), _samples("./x/../c")),
    (_collection("c"), _samples("c/samples")),
    (_collection("c"), _samples("c", "csv")),
    (_collection("gs://B/c"), _samples("gs://B/c/")),
    (_letters("dl"), places.letters_target("dl/")),
    (_letters("dl"), places.letters_target("dl/again")),
    (_letters("dl/*.jsonl"), places.letters_target("dl")),
    (_letters("dl/dead-letters-00000-of-00001.jsonl"), places.letters_target("dl")),
    (Source("--table", "t/part-0000.parquet", places.PARQUET), places.collection_target("t")),
    (Source("--table", "t/items.parquet", places.PARQUET), places.collection_target("t")),
    (Source("--table", "t/in", places.PARQUET), places.collection_target("t")),
    (Source("--table", "t", places.PARQUET), places.collection_target("t/out")),
    (Source("--table", "t/in/*.parquet", places.PARQUET), places.collection_target("t")),
    (Source("--stac", "s", places.STAC), places.letters_target("s")),
])  # fmt: skip
def test_a_target_among_what_is_read_is_refused_by_both_names(source, target):
    told = _refusal(source, target)
    assert f"{target.flag} {target.value} would write into what {source.flag} " in told
    assert str(source.value) in told


@pytest.mark.parametrize(("source", "target"), [
    (_points("out/points.csv"), _samples("out")),
    (_points("out/*.csv"), _samples("out")),
    (_points("points/*.parquet"), _samples("points/out")),
    (_points("out/points/*.parquet"), _samples("out")),
    (_points("bq://p.d.t"), _samples("out")),
    (_points("gs://b/out/*.parquet"), _samples("gs://B/out")),
    (_collection("out/collection"), _samples("out")),
    (_collection("out/collection.parquet"), _samples("out")),
    (_collection("c"), _samples("c2")),
    (_collection("c"), _samples("c/_samples")),
    (_collection("c"), places.letters_target("c/letters")),
    (_letters("first/letters"), _samples("second")),
    (_letters("dl/first"), places.letters_target("dl")),
    (Source("--inputs", "out/*.tif", places.TIFFS), places.collection_target("out")),
    (Source("--inputs", "scenes", places.TIFFS), places.collection_target("scenes/collection")),
    (Source("--inputs", "out/list.txt", places.TIFFS), places.collection_target("out")),
    (Source("--stac", "out/*.json", places.STAC), places.collection_target("out")),
    (Source("--table", "t/*.parquet", places.PARQUET), places.collection_target("t/out")),
    (Source("--points", None), SAMPLES),
    (_points("out/*.parquet"), _samples(None)),
])  # fmt: skip
def test_places_that_do_no_harm_to_each_other_are_fine(source, target):
    assert _refusal(source, target) is None


def test_links_and_file_addresses_are_other_names_of_one_place(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "c")
    for other in (tmp_path / "link", (tmp_path / "c").as_uri()):
        assert _refusal(_collection(str(tmp_path / "c")), _samples(str(other)))
        assert _refusal(_collection(str(other)), _samples(str(tmp_path / "c")))


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    (tmp_path / "a[1]").mkdir()
    assert _refusal(_collection(str(tmp_path / "a[1]")), _samples(str(tmp_path / "a[1]")))


@pytest.mark.parametrize(("address", "told"), [
    ("gcs://b/x", "gs://b/x was meant"),
    ("GS://b/x", "gs://b/x was meant"),
    ("s3a://b/x", "s3://b/x was meant"),
    ("https://h/x", "https:// cannot be written to"),
    ("bq://p.d.t", "bq:// cannot be written to"),
    ("hdfs://h/x", "hdfs:// needs pip install 'apache-beam[hadoop]'"),
    ("gs:/b/x", "one slash after its scheme; gs://b/x was meant"),
    ("S3:/b/x", "one slash after its scheme; s3://b/x was meant"),
    ("file:/x", "one slash after its scheme; file:///x was meant"),
])  # fmt: skip
@pytest.mark.parametrize("target", [_samples("-"), places.letters_target("-")])
def test_an_address_that_cannot_be_written_to_is_refused_with_what_was_meant(
    address, told, target,
):
    refusal = _refusal(_points("points.csv"), target._replace(value=address))
    assert refusal.startswith(f"{target.flag} {address}")
    assert told in refusal


@pytest.mark.parametrize("address", ["gs://b/x", "s3://b/x", "x", "/x:/y", "file:///x", "a:/b"])
def test_other_addresses_can_be_written_to(address):
    assert _refusal(_points("points.csv"), _samples(address)) is None


@pytest.mark.parametrize("flag", ["--points", "--collection"])
def test_what_is_read_needs_two_slashes_as_well(flag):
    assert "s3://x/y was meant" in _refusal(Source(flag, "s3:/x/y"), SAMPLES)


def test_secrets_in_addresses_are_not_told():
    told = _refusal(_points("points.csv"), _samples("https://me:secret@h/x?sig=secret"))
    assert "secret" not in told
