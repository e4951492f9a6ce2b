"""An interpreter that has rasteret, which needs Python 3.12 and an environment of its own.

``python tests/rasteret_env.py`` makes one beside this project's, where a suitable Python
and a package index can be reached; tests that compare with rasteret are skipped without.
"""

import os
import pathlib
import shutil
import subprocess
import sys

VERSION = "0.4.1"
FOLDER = pathlib.Path(__file__).resolve().parents[1] / ".venv-rasteret"
_REASON = FOLDER / "reason.txt"
_NAMES = ("python3.12", "python3.13", "python3.14", sys.executable)


def find():
    """Gives (interpreter, ""), or (None, why there is none)."""
    named = os.environ.get("RASTERET_PYTHON")
    if named:
        return named, ""
    if (FOLDER / "made").exists():
        return str(FOLDER / "bin" / "python"), ""
    if _REASON.exists():
        return None, _REASON.read_text(encoding="utf-8")
    return None, "no environment with rasteret: python tests/rasteret_env.py makes one"


def make():
    """Makes the environment, or notes why it cannot be had."""
    if (FOLDER / "made").exists() or os.environ.get("RASTERET_PYTHON"):
        return
    FOLDER.mkdir(exist_ok=True)
    python = next((name for name in _candidates() if _is_suitable(name)), None)
    if python is None:
        _REASON.write_text("rasteret needs Python 3.12 or newer; none was found", "utf-8")
        return
    steps = (
        [python, "-m", "venv", str(FOLDER)],
        [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "-q", f"rasteret=={VERSION}"],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            _REASON.write_text(f"rasteret {VERSION} cannot be installed: {last}", "utf-8")
            return
    _REASON.unlink(missing_ok=True)
    (FOLDER / "made").touch()


def _candidates():
    yield from filter(None, map(shutil.which, _NAMES))
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    yield from sorted(str(path) for path in root.glob("versions/3.1[2-9]*/bin/python"))


def _is_suitable(python):
    """Whether it runs at all (a version manager's stand-in may not), and is new enough."""
    code = "import sys, venv; sys.exit(sys.version_info < (3, 12))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0  # noqa: S603


if __name__ == "__main__":
    make()
    print(find()[1] or f"rasteret {VERSION} is there")
