"""The transforms for Beam YAML: plain values as configuration, rows in and out.

``providers.yaml`` beside this file lists them; a pipeline includes it by its path, or names
them itself: ``type: python``, ``SamplePoints: rasteret_beam.yaml.SamplePoints``. To run YAML
takes what the extra ``[yaml]`` installs; this package does not.
"""

import pathlib

from rasteret_beam.yaml.build_collection import BuildCollection
from rasteret_beam.yaml.sample_points import SamplePoints

PROVIDERS = str(pathlib.Path(__file__).with_name("providers.yaml"))
"""Path of the list of transforms, for ``include``."""

__all__ = ["PROVIDERS", "BuildCollection", "SamplePoints"]
