"""Makes what the templates are: ``python -m templates.make metadata``, or ``upload``.

``metadata`` writes each template's ``metadata.json`` and ``README.md``, from the options of
its pipeline. ``upload`` makes a folder with all that is uploaded: the context of the images,
with the package's source distribution, and the specification of each template.
"""

import argparse
import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from rasteret_beam import __version__
from templates.metadata import metadata_of, spec_of
from templates.parameters import PIPELINES, Template
from templates.readme import IMAGES, readme_of

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def templates() -> list[Template]:
    """Gives every template: the folders here that hold a ``template.py``."""
    names = sorted(path.parent.name for path in HERE.glob("*/template.py"))
    return [importlib.import_module(f"templates.{name}.template").TEMPLATE for name in names]


def texts(template: Template) -> dict[str, str]:
    """Gives the texts of a template's folder, by their names."""
    metadata = metadata_of(template)
    return {
        "metadata.json": _json(metadata),
        "README.md": readme_of(template, metadata, __version__),
    }


def write_metadata() -> None:
    """Writes every template's texts."""
    for template in templates():
        for name, text in texts(template).items():
            (HERE / template.name / name).write_text(text, encoding="utf-8")


def write_upload(folder: pathlib.Path, images: str) -> None:
    """Makes all that is uploaded.

    Args:
        folder: Where; what is there is replaced.
        images: Place of the images in a registry, without their names.
    """
    context = folder / "context"
    shutil.rmtree(folder, ignore_errors=True)
    (context / "pipelines").mkdir(parents=True)
    for name in ("Dockerfile", "requirements.txt"):
        shutil.copy(HERE / name, context)
    _build_sdist(context)
    steps = []
    for template in templates():
        shutil.copy(PIPELINES / f"{template.name}.py", context / "pipelines")
        image = f"{images}/{template.name}:{__version__}"
        steps.append(_build_step(template, image))
        spec = _json(spec_of(template, image))
        (folder / f"{template.name}.json").write_text(spec, encoding="utf-8")
    build = {"steps": steps, "images": [step["args"][-2] for step in steps]}
    (context / "cloudbuild.json").write_text(_json(build), encoding="utf-8")


def _build_step(template: Template, image: str) -> dict[str, Any]:
    return {
        "id": template.name,
        "name": "gcr.io/cloud-builders/docker",
        "args": ["build", "--build-arg", f"TEMPLATE={template.name}", "--tag", image, "."],
    }


def _build_sdist(folder: pathlib.Path) -> None:
    # Made of a copy: a build leaves its traces beside setup.py, and takes old ones along.
    with tempfile.TemporaryDirectory() as copy:
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(
            ROOT / "rasteret_beam", pathlib.Path(copy) / "rasteret_beam",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(folder.resolve())]
        subprocess.run(command, cwd=copy, check=True)  # noqa: S603 -- our own setup.py


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m templates.make", description=__doc__)
    parser.add_argument("what", choices=("metadata", "upload"))
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "templates")
    parser.add_argument("--images", default=IMAGES, help="place of the images in a registry")
    given = parser.parse_args()
    if given.what == "metadata":
        write_metadata()
    else:
        write_upload(given.folder, given.images)


if __name__ == "__main__":
    main()
