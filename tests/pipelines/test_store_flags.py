"""Both commands take the flags on how files are read."""

import pytest


@pytest.mark.parametrize("name", ["sample", "build"])
def test_every_pipeline_knows_the_flags(name, request, capsys):
    run = request.getfixturevalue(name)
    with pytest.raises(SystemExit):
        run("--help")
    told = capsys.readouterr().out
    for flag in ("--attempts", "--timeout_seconds", "--allow_hosts", "--allow_schemes"):
        assert flag in told


@pytest.mark.parametrize("name", ["sample", "build"])
def test_a_flag_that_cannot_work_is_refused_before_anything_is_read(name, request, capsys):
    run = request.getfixturevalue(name)
    flags = ("--collection", "c", "--points", "p", "--bands", "B1", "--output", "o")
    flags = flags if name == "sample" else ("--inputs", "a.tif", "--output", "o")
    assert run(*flags, "--attempts", "0") == 2
    assert "attempts is 0, expected 1 or more" in capsys.readouterr().err
