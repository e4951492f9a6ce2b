"""What values a parameter has, and the patterns that they are held to.

The patterns are those of Google's own templates where it has one.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What values a parameter has.

    Attributes:
        param_type: Dataflow's ``paramType``.
        regex: What a value must match from its first to its last character.
        choices: All values, where they are few.
    """

    param_type: str
    regex: str
    choices: tuple[str, ...] = ()


def one_of(*choices: str) -> Kind:
    """Gives the kind of parameters with few values."""
    return Kind("ENUM", f"^({'|'.join(choices)})$", choices)


def _listed(one: str) -> str:
    # As flags.listed parts them: gcloud takes commas for itself.
    return f"^{one}([;, ] ?{one})*$"


_NUMBER = r"-?[0-9]+(\.[0-9]+)?"
_OBJECT = r"^gs:\/\/[^\n\r]+$"

OUTPUT_FOLDER = Kind("GCS_WRITE_FOLDER", _OBJECT)
INPUT_FOLDER = Kind("GCS_READ_FOLDER", _OBJECT)
INPUT_FILE = Kind("GCS_READ_FILE", _OBJECT)
PLACE = Kind("TEXT", r"^(gs|s3|https?|file):\/\/[^\n\r]+$|^\/[^\n\r]+$")
_TABLE = r"^bq:\/\/[^\n\r]+[\.:][^\n\r]+\.[^\n\r]+$"
TABLE = Kind("TEXT", _TABLE)
FOLDER_OR_TABLE = Kind("TEXT", rf"{_OBJECT}|{_TABLE}")
FILES_OR_TABLE = Kind("TEXT", r"^(gs|s3|https?|bq):\/\/[^\n\r]+$")
PLACE_ELSEWHERE = Kind("TEXT", r"^(gs|s3|https?):\/\/[^\n\r]+$")
WEB_ADDRESS = Kind("TEXT", r"^https?:\/\/[^\n\r]+$")
SUBSCRIPTION = Kind(
    "PUBSUB_SUBSCRIPTION", r"^projects\/[^\n\r\/]+\/subscriptions\/[^\n\r\/]+$|^$",
)
TOPIC = Kind("PUBSUB_TOPIC", r"^projects\/[^\n\r\/]+\/topics\/[^\n\r\/]+$|^$")
BOOLEAN = Kind("BOOLEAN", "^(true|false)$")
INTEGER = Kind("NUMBER", "^-?[0-9]+$")
FLOAT = Kind("NUMBER", r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$")
BYTES = Kind("TEXT", r"^[0-9]+(\.[0-9]+)? ?([KMGTkmgt]i?)?[Bb]?$")
COLUMN = Kind("TEXT", r"^[^\s]([^\n\r]*[^\s])?$")
TABLE_COLUMN = Kind("TEXT", r"^[A-Za-z_][A-Za-z0-9_]*$")
CRS = Kind("TEXT", r"^(EPSG:)?[0-9]{4,6}$|^OGC:CRS84$|^none$")
BANDS = Kind("TEXT", _listed(r"[A-Za-z0-9_.:\-]+"))
COLUMNS = Kind("TEXT", _listed("[A-Za-z_][A-Za-z0-9_]*"))
NAMES = Kind("TEXT", _listed(r"[A-Za-z0-9_.\-]+"))
NAME = Kind("TEXT", r"^[A-Za-z0-9_.\/\-]+$")
GOOGLE_PROJECT = Kind("TEXT", r"^([a-z0-9.\-]+:)?[a-z][a-z0-9\-]{4,28}[a-z0-9]$")
HOSTS = Kind("TEXT", _listed(r"[A-Za-z0-9_.*:\-]+"))
SCHEMES = Kind("TEXT", _listed("(https?|gs|s3|file)"))
PAIRS = Kind("TEXT", _listed("[^=;, ]+=[^;, ]+"))
BBOX = Kind("TEXT", rf"^{_NUMBER}([;, ] ?{_NUMBER}){{3}}$")
DATES = Kind("TEXT", r"^[0-9]{4}[0-9TZ:.+\-]*\/[0-9]{4}[0-9TZ:.+\-]*$")
JSON_OBJECT = Kind("TEXT", r"^\{[^\n\r]*\}$")
TEXT = Kind("TEXT", r"^[^\n\r]+$")
