"""What rasteret-beam needs. Tool settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

_HERE = pathlib.Path(__file__).parent
_VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (_HERE / "rasteret_beam" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

setup(
    name="rasteret-beam",
    version=_VERSION,
    description="Pixel values of cloud-hosted COGs for millions of points, on Apache Beam",
    long_description=(_HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.15",
    packages=find_packages(include=["rasteret_beam", "rasteret_beam.*"]),
    package_data={
        "rasteret_beam": [
            "py.typed",
            "collection/catalog.json",
            "forecast/prices.json",
            "yaml/providers.yaml",
        ],
    },
    install_requires=[
        "apache-beam[gcp]>=2.77",
        # Reads Avro messages; Beam brings it anyway.
        "fastavro>=1.9",
        "google-cloud-storage>=2.18",
        # Asks an engine for its options; Beam brings it anyway.
        "grpcio>=1.60",
        "imagecodecs>=2025.3.30",
        # Earlier ones crash the process on broken LZW; for older Pythons there are no later ones.
        "imagecodecs>=2026.8.16; python_version >= '3.12'",
        # Inflates the first rows of a tile, and no more.
        "isal>=1.8",
        "numpy>=1.26",
        # Reads WKB and knows polygons.
        "shapely>=2.0",
        # Ranged reads of gs:// and s3://: a thirteenth of google-cloud-storage's CPU per request.
        "obstore>=0.9",
        "pyarrow>=21",
        "pyproj>=3.6",
        # Searches STAC APIs: paging, retries and their dialects.
        "pystac-client>=0.8",
        # What pystac-client searches with, for its retries.
        "requests>=2.31",
        # Connections to web servers whose status, headers, redirects and time are ours to check.
        "urllib3>=2.2",
    ],
    extras_require={
        "test": [
            # Some 3 MB; pipelines in YAML are run, and files in S3 are written.
            "apache-beam[aws,yaml]>=2.77",
            # Readers of our files, and the specification's own judge of them.
            "duckdb>=1.1",
            # A bucket on this machine, for what Dataflow's launcher stages.
            "gcp-storage-emulator>=2026.7",
            "geopandas>=1.0",
            "geoparquet-validator>=0.2",
            "hypothesis>=6.100",
            # An S3 API on this machine.
            "moto[server]>=5.0.20",
            "mypy>=1.16",
            "pytest>=8",
            "pytest-xdist>=3.6",
            # Reads the Terraform of the templates' READMEs.
            "python-hcl2>=8",
            "ruff>=0.12",
            # Builds the source distribution, as Beam does for --setup_file.
            "setuptools>=77",
            "tifffile>=2025.5.10",
        ],
        # Writes to s3:// by way of Beam, and knows the profiles of the AWS command line.
        "aws": ["apache-beam[aws]>=2.77"],
        # Runs Beam YAML; holds pandas below 2.4.
        "yaml": ["apache-beam[yaml]>=2.77"],
        # Writes the demo's scenes.
        "demo": ["tifffile>=2025.5.10"],
        # The peers that sampling is measured against; rasteret has an environment of its own.
        "bench": ["async-tiff>=0.7", "rasterio>=1.4"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: GIS",
        "Typing :: Typed",
    ],
)
