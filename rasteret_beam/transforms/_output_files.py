"""Where the files of an output are: staged, then final, then listed."""

import dataclasses
import threading
import time
import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from rasteret_beam.errors import OutputError
from rasteret_beam.output import Layout
from rasteret_beam.output.earlier import KeptRows
from rasteret_beam.output.formats import SUFFIXES, TableWriter, suffix_of
from rasteret_beam.output.manifest import (
    MANIFEST,
    RUN_FOLDER,
    WrittenFile,
    files_of,
    job_of,
    make_manifest,
)
from rasteret_beam.output.shard_files import ShardTask, write_file
from rasteret_beam.transforms._folders import (
    create_file,
    delete,
    give_way,
    open_file,
    put_in_place,
    remove,
    remove_folder,
    remove_if_empty,
    remove_old_folders,
    size_of,
    sizes_of,
    writing,
)

_PREFIX = "samples"
_LEFT_SECONDS = 86_400
_WRITERS = threading.Semaphore(2)
"""Files that a process writes at once: each is held in memory, and runners have many threads."""


class Staged(NamedTuple):
    """A file that is complete, and waits for the others.

    Attributes:
        name: Where it is.
        final: Its name in the output's folder.
        rows: Number of its rows.
        bytes: Its size.
    """

    name: str
    final: str
    rows: int
    bytes: int


def parts_folder(folder: str, job: str) -> str:
    """Gives the folder for the parts of a job."""
    return FileSystems.join(folder, RUN_FOLDER, f"parts-{job}")


def manifest_of(name: str) -> str:
    """Gives the manifest that lists a published file: that of its window and pane."""
    folder, file = FileSystems.split(name)
    window = file.rsplit("-", 3)[0].removeprefix(_PREFIX)
    return str(FileSystems.join(folder, RUN_FOLDER, _manifest_name(window)))


def is_first(name: str) -> bool:
    """Tells whether a published file is the first that its manifest lists."""
    return int(FileSystems.split(name)[1].rsplit("-", 3)[1]) == 0


def listed_files(manifest: str) -> list[WrittenFile]:
    """Gives the files that a manifest lists, by their whole names, in order.

    Raises:
        OutputError: It cannot be read.
    """
    folder = FileSystems.split(FileSystems.split(manifest)[0])[0]
    with writing(folder), open_file(manifest) as file:
        listed = files_of(file.read().decode())
    return [file._replace(name=FileSystems.join(folder, file.name)) for file in listed]


@dataclasses.dataclass(frozen=True, slots=True)
class OutputFiles:
    """The files of one run, window and pane.

    Attributes:
        folder: The output.
        output_format: One of ``output.FORMATS``.
        layout: What a row is.
        job: Digest of the job, or "".
        run: Name of this run.
        window: What names say of the window; "" for the only one.
    """

    folder: str
    output_format: str
    layout: Layout
    job: str
    run: str
    window: str = ""

    def of_window(self, window: str) -> "OutputFiles":
        """Gives the files of a window."""
        return dataclasses.replace(self, window=window)

    def write(self, task: ShardTask, kept: KeptRows | None) -> Staged:
        """Writes one file whole, under a name that is not final.

        Raises:
            OutputError: It cannot be written, or another run took a part away.
        """
        shard, suffix = task.shard, suffix_of(self.output_format)
        final = f"{_PREFIX}{self.window}-{shard.number:05d}-of-{shard.n_shards:05d}{suffix}"
        name = FileSystems.join(self._staged, f"{final}-{uuid.uuid4().hex}")
        try:
            return self._write(task, kept, name, final)
        except OutputError:
            if all(FileSystems.exists(source.part) for source in task.sources):
                raise
            done = self._published(final)
            if done is None:
                give_way(self.folder, "parts of this run are gone")
            return done

    def _write(
        self, task: ShardTask, kept: KeptRows | None, name: str, final: str,
    ) -> Staged:
        with _WRITERS, writing(self.folder):
            with create_file(name) as file:
                output = TableWriter(file, self.output_format)
                write_file(task, kept, open_file, self.layout, output)
                output.close()
            return Staged(name, final, output.n_rows, size_of(name))

    def publish(self, staged: Sequence[Staged], parts: Sequence[str] = ()) -> list[str]:
        """Gives files their names, and takes away what is not of this output.

        The manifest goes first and comes last: an output that has one is whole.

        Args:
            staged: The files.
            parts: Parts to take away; none where all of the job's are to go, and what
                other runs left more than a day ago besides.

        Returns:
            The final names.

        Raises:
            OutputError: A file cannot be renamed or removed, or another run puts its own in
                their places.
        """
        finals = {file.name: FileSystems.join(self.folder, file.final) for file in staged}
        listed = {file.name: WrittenFile(file.final, file.rows, file.bytes) for file in staged}
        text = make_manifest(
            self._told_job, self.output_format, self.layout.name, list(listed.values()),
        ).to_json()
        with writing(self.folder):
            before = self._manifest_before()
            gone = finals.keys() - sizes_of(self._staged, "*").keys()
            if gone and before:
                # An earlier try published all; it may have been taken away since, as it is from
                # a folder that BigQuery loads from.
                if not set(files_of(before)).issuperset(listed.values()):
                    give_way(self.folder, "some files of this run are gone")
                delete(finals)
            elif finals or before != text:
                # An earlier try may have put some in place.
                self._check_there([listed[name] for name in gone])
                self._replace(finals.items(), text)
                self._check_there(listed.values(), [self._manifest])
            self._clean(parts)
        return sorted(finals.values())

    def _replace(self, moves: Collection[tuple[str, str]], text: str) -> None:
        """Puts files in place of those of before, and a manifest of these."""
        delete([self._manifest])
        put_in_place(moves)
        keep = [final for _, final in moves]
        for suffix in SUFFIXES:
            remove(self.folder, f"{_PREFIX}{self.window}-?????-of-?????{suffix}", keep=keep)
        hidden = f"{self._manifest}-{uuid.uuid4().hex}"
        with create_file(hidden) as file:
            file.write(text.encode())
        put_in_place([(hidden, self._manifest)])

    def _check_there(self, files: Collection[WrittenFile], unless: Sequence[str] = ()) -> None:
        """Refuses files that another run replaced or took away: rows of two runs do not add up.

        The last look is after the manifest: a run that puts files over these from then on
        comes to its own last look later.

        Args:
            files: What must be in the folder.
            unless: What goes if it is not.
        """
        found = sizes_of(self.folder, f"{_PREFIX}{self.window}-?????-of-?????*") if files else {}
        for file in files:
            if found.get(FileSystems.join(self.folder, file.name)) != file.bytes:
                delete(unless)
                give_way(self.folder, f"{file.name} is not what this run wrote")

    def _published(self, final: str) -> Staged | None:
        """Gives a file that an earlier try wrote and published, where there was one.

        A runner may do a step again after it was done, and before it knew. Parts go last
        of all: where they are gone, what the manifest of the job lists is of them.
        """
        with writing(self.folder):
            text = self._manifest_before()
        gone = FileSystems.join(self._staged, final)
        listed = (Staged(gone, *file) for file in files_of(text)) if text else ()
        return next((file for file in listed if file.final == final), None)

    def _manifest_before(self) -> str:
        """Gives the manifest that an earlier try, or run, of the same job left; "" without one."""
        if not FileSystems.exists(self._manifest):
            return ""
        with open_file(self._manifest) as file:
            text = str(file.read().decode(errors="replace"))
        return text if job_of(text) == self._told_job else ""

    def _clean(self, parts: Sequence[str]) -> None:
        if parts:
            delete(parts)
            # Other windows may be at work in them.
            remove_if_empty(parts_folder(self.folder, self._told_job))
            remove_if_empty(self._staged)
            return
        for folder in (parts_folder(self.folder, self._told_job), self._staged):
            remove_folder(folder)
        for name in ("parts-*", "staged-*"):
            # Others may be at work in theirs.
            remove_old_folders(
                FileSystems.join(self.folder, RUN_FOLDER), name, time.time() - _LEFT_SECONDS,
            )

    @property
    def _told_job(self) -> str:
        """Whose output it is, in the manifest: the job's, or else of this run alone."""
        return self.job or self.run

    @property
    def _manifest(self) -> str:
        return str(FileSystems.join(self.folder, RUN_FOLDER, _manifest_name(self.window)))

    @property
    def _staged(self) -> str:
        return FileSystems.join(self.folder, RUN_FOLDER, f"staged-{self._told_job}")


def _manifest_name(window: str) -> str:
    stem, dot, ending = MANIFEST.rpartition(".")
    return f"{stem}{window}{dot}{ending}"
