"""What ``make template`` makes is whole, and says one version of everything."""

import ast
import importlib.metadata
import json
import re
import sys
import tarfile

import pytest
from google.cloud.devtools import cloudbuild_v1 as cloudbuild
from google.protobuf import json_format

from rasteret_beam import __version__
from templates.make import HERE, ROOT, templates, write_upload
from templates.metadata import spec_of

NAMES = [template.name for template in templates()]
DOCKERFILE = (HERE / "Dockerfile").read_text(encoding="utf-8")
REQUIREMENTS = (HERE / "requirements.txt").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", REQUIREMENTS, re.MULTILINE))


@pytest.fixture(scope="module")
def upload(tmp_path_factory):
    pytest.importorskip("setuptools", reason="needs setuptools, to build the distribution")
    folder = tmp_path_factory.mktemp("upload")
    write_upload(folder, "registry/place")
    return folder


def test_each_template_has_a_specification(upload):
    assert sorted(path.stem for path in upload.glob("*.json")) == NAMES
    for template in templates():
        spec = json.loads((upload / f"{template.name}.json").read_text(encoding="utf-8"))
        assert spec == spec_of(template, f"registry/place/{template.name}:{__version__}")
        metadata = json.loads((HERE / template.name / "metadata.json").read_text(encoding="utf-8"))
        assert spec["metadata"] == metadata


def test_all_that_the_image_copies_is_in_its_context(upload):
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert copied == ["requirements.txt", "rasteret_beam-*.tar.gz", "pipelines"]
    assert all(list((upload / "context").glob(name)) for name in copied)
    for name in NAMES:
        script = (upload / "context" / "pipelines" / f"{name}.py").read_text(encoding="utf-8")
        assert script == (ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8")


def test_the_build_makes_the_image_that_each_specification_names(upload):
    text = (upload / "context" / "cloudbuild.json").read_text(encoding="utf-8")
    build = json_format.Parse(text, cloudbuild.Build.pb()())
    assert list(build.images) == [f"registry/place/{name}:{__version__}" for name in NAMES]
    for name, step, image in zip(NAMES, build.steps, build.images, strict=True):
        assert {f"TEMPLATE={name}", image} <= set(step.args)


def test_the_distribution_holds_the_package_and_no_more(upload):
    (path,) = (upload / "context").glob("rasteret_beam-*.tar.gz")
    with tarfile.open(path) as archive:
        found = {name.split("/", 1)[-1] for name in archive.getnames()}
    ours = (path for path in (ROOT / "rasteret_beam").rglob("*") if path.is_file())
    wanted = {str(p.relative_to(ROOT)) for p in ours if "__pycache__" not in p.parts}
    assert wanted <= found
    assert not any(name.startswith(("tests", "pipelines", "templates")) for name in found)


def test_one_version_of_beam_and_of_python_everywhere():
    (beam,) = re.findall(r"^ARG BEAM=(\S+)$", DOCKERFILE, re.MULTILINE)
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert PINS["apache-beam"] == beam
    assert f"python{python.replace('.', '')}-template-launcher-base" in DOCKERFILE
    assert f"--python-version {python} " in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_requirement_is_pinned_with_its_hashes():
    starts = re.findall(r"^(?![ #]).+", REQUIREMENTS, re.MULTILINE)
    assert len(starts) == len(PINS) > 50
    assert all(re.search(r"== ?\S+ .*\\$", line) for line in starts)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", REQUIREMENTS)) >= len(PINS)


def _needs():
    """Distributions that ``setup.py`` names."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    needs = re.search(r"install_requires=\[(.*?)\n    \],", text, re.DOTALL).group(1)
    return set(re.findall(r'^\s+"([\w.-]+)', needs, re.MULTILINE))


def test_the_package_needs_nothing_that_is_not_pinned():
    assert len(_needs()) >= 10
    assert _needs() <= PINS.keys()


def test_the_package_imports_nothing_that_it_does_not_need():
    imported = {
        name.split(".")[0]
        for path in (ROOT / "rasteret_beam").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    others = imported - sys.stdlib_module_names - {"rasteret_beam", "", "__future__"}
    providers = importlib.metadata.packages_distributions()
    needed = {name for name in others if _needs() & set(providers.get(name, ()))}
    assert {"apache_beam", "pyarrow", "numpy"} <= needed
    assert others == needed


def test_the_image_is_checked_and_starts_as_a_worker():
    assert "--require-hashes -r requirements.txt" in DOCKERFILE
    assert "pip check" in DOCKERFILE
    assert DOCKERFILE.rstrip().endswith('ENTRYPOINT ["/opt/apache/beam/boot"]')
    assert re.search(r"^ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/pipelines/\$\{TEMPLATE\}\.py$",
                     DOCKERFILE, re.MULTILINE)  # fmt: skip
