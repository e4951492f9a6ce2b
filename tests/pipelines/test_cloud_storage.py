"""A job whose collection, points, tiles, output and dead letters are all elsewhere.

gs:// is an emulator, s3:// is moto's server, http:// is nginx where there is one.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import socket
import subprocess
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from blobs import SECRET, blob, serving_azure
from dataflow import compiled
from fakes import forget_accounts
from gcs import serving_bucket
from google import auth as google_auth
from google.auth.exceptions import DefaultCredentialsError
from misbehaving import dead_port
from s3 import KEYS, serving_s3
from scenes import Scene, grid_points, ramp, write_scene

from rasteret_beam.storage import Store
from rasteret_beam.storage.signing import SIGNERS
from rasteret_beam.transforms._folders import (
    delete,
    matches,
    put_in_place,
    remove,
    remove_old_folders,
)

SCENE = Scene(name="a_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
LOST = Scene(name="b_20240513", pixels=ramp(48, 48, bands=2), nodata="0")
PIXELS = [(1, 2), (20, 30), (47, 47)]
VALUES = [102.0, 2030.0, 4747.0]
_NGINX = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""
_GOOGLE = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS")


@pytest.fixture(autouse=True)
def _clients():
    forget_accounts()
    yield
    forget_accounts()


@pytest.fixture
def scenes(tmp_path):
    """Files of the job, by the names that they have wherever they are."""
    points = tmp_path / "points.parquet"
    pq.write_table(pa.table(grid_points(SCENE, PIXELS)), points)
    paths = [write_scene(tmp_path, SCENE), write_scene(tmp_path, LOST), str(points)]
    return {pathlib.Path(path).name: pathlib.Path(path).read_bytes() for path in paths}


@pytest.fixture
def web_server(tmp_path):
    """A folder, and the address at which nginx serves it."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("needs nginx")
    folder = tmp_path / "www"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "nginx.conf"
    settings.write_text(_NGINX.format(folder=folder, port=port, place=tmp_path), encoding="utf-8")
    command = [nginx, "-c", str(settings), "-e", str(tmp_path / "error.log")]
    process = subprocess.Popen(command)  # noqa: S603 -- nginx, and our own settings
    try:
        _await(port, process)
        yield folder, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _await(port, process):
    for _ in range(100):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        assert process.poll() is None
        time.sleep(0.05)
    pytest.fail("nginx does not answer")


@contextlib.contextmanager
def google(folder, monkeypatch):
    with serving_bucket(folder) as environment:
        for name in _GOOGLE:
            monkeypatch.setenv(name, environment[name])
        # Beam finds credentials once in a process.
        monkeypatch.setattr(auth._Credentials, "_credentials_init", False)
        FileSystems.set_options(PipelineOptions([]))
        yield environment


@contextlib.contextmanager
def amazon(monkeypatch):
    boto3 = pytest.importorskip("boto3", reason="needs boto3, of the extra 'aws'")
    with serving_s3("my-bucket") as (client, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        FileSystems.set_options(PipelineOptions([]))
        # Beam makes a client for each call: half a second, but for what a session remembers.
        session = boto3.session.Session()
        monkeypatch.setattr(boto3.session, "Session", lambda: session)
        yield client, environment


@pytest.fixture(params=["gs", "s3"])
def root(request, tmp_path, monkeypatch):
    """An empty bucket of either kind."""
    served = google(tmp_path, monkeypatch) if request.param == "gs" else amazon(monkeypatch)
    with served:
        yield f"{request.param}://my-bucket"


def _nothing(_name):
    """Spoils no file."""


def _no_account(**_options):
    raise DefaultCredentialsError


def write(uri, data):
    with FileSystems.create(uri, compression_type="uncompressed") as file:
        file.write(data)


def files_below(folder):
    (found,) = FileSystems.match([f"{folder}/**"])
    return sorted(file.path for file in found.metadata_list)


def rows(folder):
    tables = []
    for name in files_below(folder):
        if name.endswith(".parquet"):
            with FileSystems.open(name, compression_type="uncompressed") as file:
                tables.append(pq.read_table(pa.BufferReader(file.read())))
    return pa.concat_tables(tables).to_pylist()


def run_job(root, scenes, build, sample, spoil, more=()):
    """Indexes two files, spoils one, samples; gives rows and dead letters."""
    for name, data in scenes.items():
        write(f"{root}/in/{name}", data)
    more = ("--allow_http", *more)
    assert build("--inputs", f"{root}/in/*.tif", "--output", f"{root}/collection", *more) == 0
    spoil(f"in/{LOST.name}.tif")
    status = sample(
        "--collection", f"{root}/collection", "--points", f"{root}/in/*.parquet",
        "--points_crs", "EPSG:32631", "--bands", "B1", "--output", f"{root}/samples",
        "--dead_letters", f"{root}/letters", "--error_threshold", "1", *more,
    )  # fmt: skip
    assert status == 0
    letters = []
    for name in files_below(f"{root}/letters"):
        with FileSystems.open(name) as file:
            letters += [json.loads(line) for line in file.read().splitlines()]
    return rows(f"{root}/samples"), letters


def check(found, letters):
    values = [row["value"] for row in sorted(found, key=lambda row: row["point_index"])
              if row["record_id"] == SCENE.name]  # fmt: skip
    assert values == VALUES
    assert letters
    assert all(f"{LOST.name}.tif" in json.dumps(letter) for letter in letters)


def check_kept_apart(root, build, sample, capsys):
    """Samples and collections do not get into each other's folders."""
    scenes = ("--inputs", f"{root}/in/*.tif", "--allow_http", "--output")
    assert build(*scenes, f"{root}/samples") == 2
    assert f"--output {root}/samples holds samples" in capsys.readouterr().err
    points = ("--points", f"{root}/in/*.parquet", "--points_crs", "EPSG:32631", "--bands", "B1")
    collection = ("--collection", f"{root}/collection/part-0.parquet", "--allow_http")
    assert sample(*points, *collection, "--output", f"{root}/collection") == 2
    assert f"--output {root}/collection holds a collection" in capsys.readouterr().err


def test_of_a_folder_whose_name_could_be_a_pattern_its_own_files_are_listed_and_deleted(root):
    for name in ("out[1]/a-1.x", "out[1]/a-2.x", "out[1]/b.x", "out1/a-1.x"):
        write(f"{root}/{name}", b"1")
    mine = [f"{root}/out[1]/a-{number}.x" for number in (1, 2)]
    assert matches(f"{root}/out[1]", "a-?.x") == mine
    remove(f"{root}/out[1]", "a-*", keep=mine[:1])
    delete([f"{root}/out[1]/b.x", f"{root}/out[1]/gone.x"])
    assert files_below(f"{root}") == sorted([mine[0], f"{root}/out1/a-1.x"])
    assert Store(allow_http=True).glob(mine[0]) == [mine[0]]


def test_files_are_put_in_place_over_what_is_there_and_once_more_without_harm(root):
    write(f"{root}/final", b"of before")
    write(f"{root}/hidden", b"rows")
    for _ in range(2):
        put_in_place([(f"{root}/hidden", f"{root}/final")])
    with FileSystems.open(f"{root}/final") as file:
        assert file.read() == b"rows"
    assert files_below(root) == [f"{root}/final"]
    with pytest.raises(OSError, match="Rename operation failed"):
        put_in_place([(f"{root}/hidden", f"{root}/nowhere")])


def test_old_folders_go(root):
    for name in ("a-1", "a-2", "b"):
        write(f"{root}/{name}/part", b"1")
    remove_old_folders(root, "a-*", time.time() - 3600)
    assert len(files_below(root)) == 3
    remove_old_folders(root, "a-*", time.time() + 3600)
    assert files_below(root) == [f"{root}/b/part"]


def test_a_job_on_google_storage(tmp_path, monkeypatch, scenes, build, sample, capsys):
    other = pathlib.Path(write_scene(tmp_path, dataclasses.replace(LOST, pixels=ramp(48, 48))))

    def overwrite(name):
        write(f"gs://my-bucket/{name}", other.read_bytes())

    with google(tmp_path, monkeypatch) as environment:
        found, letters = run_job("gs://my-bucket", scenes, build, sample, overwrite)
        check(found, letters)
        assert all("it has changed since" in json.dumps(letter) for letter in letters)
        check_kept_apart("gs://my-bucket", build, sample, capsys)
        assert {h["Authorization"] for _, _, h in environment.server.asked} == {"Bearer a"}
        assert "https://www.googleapis.com/auth/devstorage.read_only" in environment.scopes


def test_a_job_on_google_storage_on_the_accounts_bill(
    tmp_path, monkeypatch, scenes, build, sample, capsys,
):
    with google(tmp_path, monkeypatch) as environment:
        environment.server.payer = "my-payer"
        more = ("--billing_project", "my-payer")
        found, letters = run_job("gs://my-bucket", scenes, build, sample, _nothing, more)
        assert (len(found), letters) == (2 * len(PIXELS), [])
        assert {h["x-goog-user-project"] for _, _, h in environment.server.asked} == {"my-payer"}
        flags = ("--inputs", "gs://my-bucket/in/*.tif", "--output", str(tmp_path / "c"))
        assert build(*flags, "--allow_http") == 2
    assert "the requester pays for this bucket: --billing_project" in capsys.readouterr().err


def test_a_job_on_s3(monkeypatch, scenes, build, sample, capsys):
    with amazon(monkeypatch) as (client, _):
        def delete(name):
            client.delete_object(Bucket="my-bucket", Key=name)

        found, letters = run_job("s3://my-bucket", scenes, build, sample, delete)
        check(found, letters)
        told = capsys.readouterr()
        check_kept_apart("s3://my-bucket", build, sample, capsys)
        summary = client.get_object(Bucket="my-bucket", Key="samples/_run/summary.json")
        texts = [told.out, told.err, json.dumps(letters), summary["Body"].read().decode()]
    assert not any(secret in text for text in texts for secret in KEYS.values())


def appended(root, scenes, build):
    """Appends a file to a collection that others laid out; gives names of files, and ids."""
    for name, data in scenes.items():
        write(f"{root}/in/{name}", data)
    flags = ("--allow_http", "--datetime_pattern", r"\d{8}")
    assert build("--inputs", f"{root}/in/a_*.tif", "--output", f"{root}/made", *flags) == 0
    (made,) = files_below(f"{root}/made/year=2024")
    with FileSystems.open(made, compression_type="uncompressed") as file:
        data = file.read()
    for name in ("scenes.parquet", "year=2024/part-7.parquet"):
        write(f"{root}/c/{name}", data)
    more = ("--output", f"{root}/c", "--mode", "append", *flags)
    assert build("--inputs", f"{root}/in/b_*.tif", *more) == 0
    parts = [name for name in files_below(f"{root}/c") if name.endswith(".parquet")]
    return [name.removeprefix(f"{root}/c/") for name in parts], [r["id"] for r in rows(f"{root}/c")]


def test_a_collection_in_a_bucket_is_appended_to_however_it_is_laid_out(root, scenes, build):
    names, ids = appended(root, scenes, build)
    assert names == ["year=2024/month=5/part-0.parquet"]
    assert sorted(ids) == [SCENE.name, LOST.name]


def test_a_job_on_a_web_server(tmp_path, web_server, scenes, build, sample):
    folder, url = web_server
    for name, data in scenes.items():
        (folder / name).write_bytes(data)
    listed = tmp_path / "list.txt"
    listed.write_text(f"{url}/{SCENE.name}.tif\n{url}/{LOST.name}.tif\n", encoding="utf-8")
    made = tmp_path / "made"
    assert build("--inputs", listed, "--output", made, "--allow_http") == 0
    (part,) = made.rglob("*.parquet")
    shutil.copy(part, folder / "collection.parquet")
    (folder / f"{LOST.name}.tif").unlink()
    status = sample(
        "--collection", f"{url}/collection.parquet", "--points", f"{url}/points.parquet",
        "--points_crs", "EPSG:32631", "--bands", "B1", "--output", tmp_path / "samples",
        "--dead_letters", tmp_path / "letters", "--error_threshold", "1", "--allow_http",
    )  # fmt: skip
    assert status == 0
    letters = [json.loads(line) for path in (tmp_path / "letters").glob("*.jsonl")
               for line in path.read_text("utf-8").splitlines()]  # fmt: skip
    check(rows(str(tmp_path / "samples")), letters)


def test_a_job_on_signed_blobs_of_a_dataset(tmp_path, monkeypatch, scenes, build, sample, capsys):
    blobs = {f"container/{name}": data for name, data in scenes.items()}
    with serving_azure(monkeypatch, blobs) as server:
        monkeypatch.setitem(SIGNERS, "planetary_computer", lambda: server.signer)
        listed = tmp_path / "list.txt"
        names = (f"{SCENE.name}.tif", f"{LOST.name}.tif")
        listed.write_text("\n".join(map(blob, names)), encoding="utf-8")
        made, out = tmp_path / "made", tmp_path / "samples"
        flags = ("--inputs", listed, "--output", made, "--allow_http", "--error_threshold", "1")
        assert build(*flags) == 1
        assert "2 seen, 0 indexed, 0 unchanged, 2 failed" in capsys.readouterr().err
        assert build(*flags, "--signer", "planetary_computer") == 0
        server.fail_next(f"container/{LOST.name}.tif", *[404] * 9)
        status = sample(
            "--collection", made, "--points", tmp_path / "points.parquet", "--points_crs",
            "EPSG:32631", "--bands", "B1", "--output", out, "--dead_letters", tmp_path / "letters",
            "--error_threshold", "1", "--allow_http", "--data_source", "pc/sentinel-2-l2a",
        )  # fmt: skip
        assert status == 0
        (path,) = (tmp_path / "letters").glob("*.jsonl")
        letters = path.read_text("utf-8")
        check(rows(str(out)), [json.loads(line) for line in letters.splitlines()])
        told = capsys.readouterr()
        summary = (out / "_run" / "summary.json").read_text("utf-8")
    assert not any(SECRET in text for text in (told.out, told.err, letters, summary))


def test_tiles_are_read_from_where_their_addresses_are_rewritten_to(
    tmp_path, web_server, scenes, build, sample,
):
    folder, url = web_server
    (folder / "old").mkdir()
    (folder / "old" / f"{SCENE.name}.tif").write_bytes(scenes[f"{SCENE.name}.tif"])
    made, out = tmp_path / "made", tmp_path / "samples"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{url}/old/{SCENE.name}.tif", encoding="utf-8")
    assert build("--inputs", listed, "--output", made, "--allow_http") == 0
    (folder / "old").rename(folder / "new")
    status = sample(
        "--collection", made, "--points", tmp_path / "points.parquet", "--points_crs",
        "EPSG:32631", "--bands", "B1", "--output", out, "--allow_http",
        "--url_rewrite", f"{url}/old/={url}/new/;https://me:s3cret@no.invalid/=s3://b/",
    )  # fmt: skip
    assert status == 0
    assert sorted(row["value"] for row in rows(str(out))) == VALUES
    assert SECRET not in (out / "_run" / "summary.json").read_text("utf-8")


@pytest.mark.parametrize("join", ["auto", "broadcast"])
def test_a_job_is_built_by_a_launcher_without_an_account(monkeypatch, join):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", dead_port())
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setattr(google_auth, "default", _no_account)
    job = compiled(
        "sample_points", "SamplePointsOptions", collection="gs://my-bucket/c",
        points="gs://my-bucket/p.parquet", bands="B1", output="gs://my-bucket/s",
        points_crs="EPSG:4326", attempts=1, join=join,
    )  # fmt: skip
    assert "SamplePoints/FetchTiles" in job.steps
