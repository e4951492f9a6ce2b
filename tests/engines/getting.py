"""Prism and Flink on this machine, for tests on real engines.

``python tests/engines/getting.py`` builds Prism from its Go module (66 MB) and gathers Flink
and Beam's job server for it from Maven Central (152 MB), once, where Go, Java and Maven are
there. They lie in ``~/.cache/rasteret_beam/engines``, or where RASTERET_BEAM_ENGINES says.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess

PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
POM = pathlib.Path(__file__).parent / "pom.xml"
FOLDER = pathlib.Path(
    os.environ.get("RASTERET_BEAM_ENGINES", "~/.cache/rasteret_beam/engines"),
).expanduser()
NOT_ASKED_FOR = "" if "RUN_ENGINES" in os.environ else "`make runners` starts the engines"
"""Why tests leave the engines alone: plain `make test` stays quick where they are present."""

_TOLD_CHARACTERS = 500


def find_prism():
    """Gives (program, ""), or (None, why there is none)."""
    program = FOLDER / "bin" / "prism"
    return _found(program, program, "go")


def find_flink():
    """Gives (folder of jars, ""), or (None, why there is none)."""
    if not shutil.which("java"):
        return None, "Java is not on this machine"
    return _found(_jars(), _jars() / "made", "mvn")


def make():
    """Fetches and builds what is not there yet; says what cannot be had."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, find, fetch in (("Prism", find_prism, _build_prism), ("Flink", find_flink, _fetch)):
        if find()[0] is None:
            fetch()
        print(f"{name}: {find()[1] or find()[0]}")


def _build_prism():
    if shutil.which("go"):
        _run(["go", "install", PRISM], {"GOBIN": str(FOLDER / "bin")})


def _fetch():
    if not (shutil.which("java") and shutil.which("mvn")):
        return
    goal = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
    chosen = ["-DincludeScope=runtime", f"-DoutputDirectory={_jars()}"]
    _run(["mvn", "-B", "-q", "-f", str(POM), goal, *chosen], {})
    (_jars() / "made").touch()


def _run(command, environment):
    print(" ".join(command), flush=True)
    done = subprocess.run(  # noqa: S603
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )
    if done.returncode:
        msg = f"{command[0]} failed: {(done.stderr or done.stdout)[-_TOLD_CHARACTERS:]}"
        raise SystemExit(msg)


def _found(what, sign, tool):
    if sign.exists():
        return what, ""
    if not shutil.which(tool):
        return None, f"{tool} is not on this machine, and would be needed to get it"
    return None, "not fetched yet: make runners does"


def _jars():
    return FOLDER / f"flink-{hashlib.blake2b(POM.read_bytes(), digest_size=4).hexdigest()}"


if __name__ == "__main__":
    make()
