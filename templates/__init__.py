"""Dataflow Flex Templates of the pipelines: what is uploaded, and how it is made.

A folder each, with a ``template.py`` that says what the pipeline's flags do not; its
``metadata.json`` and ``README.md`` are made from both by ``python -m templates.make``.
"""
