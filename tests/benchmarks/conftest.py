"""Keeps pytest out: what is here are commands, and their peers need not be installed."""

collect_ignore_glob = ["*"]
