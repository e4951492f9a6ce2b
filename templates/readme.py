"""A template's metadata -> its README: parameters, and how to launch it from where."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from templates.parameters import Template

PROJECT, REGION, BUCKET = "my-project", "europe-west1", "my-bucket"
IMAGES = f"{REGION}-docker.pkg.dev/{PROJECT}/rasteret-beam"
WORKER = f"rasteret-beam@{PROJECT}.iam.gserviceaccount.com"

_LAUNCH_URL = (
    "https://dataflow.googleapis.com/v1b3/projects/$PROJECT/locations/$REGION/flexTemplates:launch"
)
_SCHEDULE = "0 3 * * *"


def readme_of(template: Template, metadata: Mapping[str, Any], version: str) -> str:
    """Gives the README.

    Args:
        template: The template.
        metadata: Its metadata: the table of parameters is made of it.
        version: The package's, by which images are tagged.
    """
    image = f"{IMAGES}/{template.name}:{version}"
    parts = [
        f"# {metadata['name']}",
        "<!-- Made by `make template` from the pipeline's options and template.py: edit those. -->",
        metadata["description"],
        (
            f"The job is [`pipelines/{template.name}.py`](../../pipelines/{template.name}.py), and "
            "its parameters are that program's flags. [Here](../README.md) is how images and "
            "templates are made, and what the job's account must be allowed."
        ),
        "## Parameters",
        _table(metadata),
        _left_out(template),
        "## From a shell",
        _shell(template, image),
        (
            "A comma parts parameters for gcloud: write `;` or a space in lists, or name another "
            "separator of parameters first: `--parameters='^~^bbox=10,49,11,50~mode=replace'`."
        ),
        "## From Airflow",
        "With `apache-airflow-providers-google` and `apache-airflow-providers-apache-beam`:",
        _airflow(template, image),
    ]
    if not template.streaming:
        parts += [
            "## Every night",
            "With Dataflow's data pipelines:",
            _data_pipeline(template, image),
            "Or with Cloud Scheduler, and this as `launch.json`:",
            _fenced("json", json.dumps(_launch_body(template, image), indent=2)),
            _scheduler(template),
        ]
    parts += ["## With Terraform", _terraform(template, image)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(metadata: Mapping[str, Any]) -> str:
    rows = ["| name | type | default | what |", "| --- | --- | --- | --- |"]
    for parameter in metadata["parameters"]:
        name = f"`{parameter['name']}`"
        if not parameter["isOptional"]:
            name = f"**{name}**"
        default = f"`{parameter['defaultValue']}`" if "defaultValue" in parameter else ""
        told = parameter["helpText"].replace("|", "\\|")
        rows.append(f"| {name} | {parameter['paramType']} | {default} | {told} |")
    told = "Those in bold are required. The patterns of values are in `metadata.json`."
    return "\n".join([*rows, "", told])


def _left_out(template: Template) -> str:
    told = "; ".join(f"`--{name}` ({why})" for name, why in template.left_out.items())
    return f"Of the program's flags, these are no parameters: {told}." if told else ""


def _shell(template: Template, image: str) -> str:
    given = "".join(
        f'  --parameters="{name}={_in_shell(value)}" \\\n'
        for name, value in template.example.items()
    )
    return _fenced("sh", f"""\
export PROJECT={PROJECT} REGION={REGION} BUCKET={BUCKET}
export IMAGE={image}
gcloud dataflow flex-template run "{_job(template)}-$(date +%Y%m%d-%H%M%S)" \\
  --project="$PROJECT" --region="$REGION" \\
  --template-file-gcs-location="gs://$BUCKET/templates/{template.name}.json" \\
  --staging-location="gs://$BUCKET/staging" --temp-location="gs://$BUCKET/temp" \\
  --service-account-email="rasteret-beam@$PROJECT.iam.gserviceaccount.com" \\
  --max-workers=20{" --enable-streaming-engine" * template.streaming} \\
{given}  --parameters="sdk_container_image=$IMAGE"
""")


def _airflow(template: Template, image: str) -> str:
    body = textwrap.indent(_python(_launch_body(template, image)), " " * 8).lstrip()
    schedule = "None" if template.streaming else f'"{_SCHEDULE}"'
    # A stream's task is done when its job runs: deferred, it would wait for the job's end.
    deferrable = "" if template.streaming else "        deferrable=True,\n"
    return _fenced("python", f"""\
import datetime as dt

from airflow import DAG
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator

with DAG(
    dag_id="{template.name}",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
    schedule={schedule},
    catchup=False,
):
    DataflowStartFlexTemplateOperator(
        task_id="{template.name}",
        project_id="{PROJECT}",
        location="{REGION}",
        body={body},
{deferrable}    )
""")


def _data_pipeline(template: Template, image: str) -> str:
    given = "~".join(
        f"{name}={_in_shell(value)}"
        for name, value in [*template.example.items(), ("sdk_container_image", image)]
    )
    return _fenced("sh", f"""\
gcloud beta datapipelines pipeline create {_job(template)} \\
  --project="$PROJECT" --region="$REGION" --pipeline-type=BATCH --template-type=FLEX \\
  --template-file-gcs-location="gs://$BUCKET/templates/{template.name}.json" \\
  --temp-location="gs://$BUCKET/temp" \\
  --dataflow-service-account-email="rasteret-beam@$PROJECT.iam.gserviceaccount.com" \\
  --schedule="{_SCHEDULE}" --time-zone=UTC \\
  --parameters="^~^{given}"
""")


def _scheduler(template: Template) -> str:
    return _fenced("sh", f"""\
gcloud scheduler jobs create http {_job(template)} \\
  --project="$PROJECT" --location="$REGION" --schedule="{_SCHEDULE}" --time-zone=UTC \\
  --uri="{_LAUNCH_URL}" \\
  --http-method=POST --message-body-from-file=launch.json \\
  --oauth-service-account-email="launcher@$PROJECT.iam.gserviceaccount.com"
""")


def _terraform(template: Template, image: str) -> str:
    return _streaming_terraform(template, image) if template.streaming else _fenced("hcl", f"""\
resource "google_data_pipeline_pipeline" "{template.name}" {{
  name    = "{_job(template)}"
  project = "{PROJECT}"
  region  = "{REGION}"
  type    = "PIPELINE_TYPE_BATCH"
  state   = "STATE_ACTIVE"

  schedule_info {{
    schedule  = "{_SCHEDULE}"
    time_zone = "UTC"
  }}

  workload {{
    dataflow_flex_template_request {{
      project_id = "{PROJECT}"
      location   = "{REGION}"
      launch_parameter {{
        job_name                = "{_job(template)}"
        container_spec_gcs_path = "gs://{BUCKET}/templates/{template.name}.json"
        parameters = {{
          {_hcl({**template.example, "sdk_container_image": image}, indent=10)}
        }}
        environment {{
          service_account_email = "{WORKER}"
          temp_location         = "gs://{BUCKET}/temp"
          max_workers           = 20
        }}
      }}
    }}
  }}
}}
""")


def _streaming_terraform(template: Template, image: str) -> str:
    return _fenced("hcl", f"""\
resource "google_dataflow_flex_template_job" "{template.name}" {{
  provider                = google-beta
  name                    = "{_job(template)}"
  project                 = "{PROJECT}"
  region                  = "{REGION}"
  container_spec_gcs_path = "gs://{BUCKET}/templates/{template.name}.json"
  sdk_container_image     = "{image}"
  service_account_email   = "{WORKER}"
  temp_location           = "gs://{BUCKET}/temp"
  enable_streaming_engine = true
  on_delete               = "drain"
  parameters = {{
    {_hcl(template.example, indent=4)}
  }}
}}
""")


def _launch_body(template: Template, image: str) -> dict[str, Any]:
    """The request of Dataflow's ``flexTemplates.launch``."""
    return {
        "launchParameter": {
            "jobName": _job(template),
            "containerSpecGcsPath": f"gs://{BUCKET}/templates/{template.name}.json",
            "parameters": dict(template.example),
            "environment": {
                "sdkContainerImage": image,
                "serviceAccountEmail": WORKER,
                "stagingLocation": f"gs://{BUCKET}/staging",
                "tempLocation": f"gs://{BUCKET}/temp",
                "maxWorkers": 20,
                **({"enableStreamingEngine": True} if template.streaming else {}),
            },
        },
    }


def _job(template: Template) -> str:
    return template.name.replace("_", "-")


def _in_shell(value: str) -> str:
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")
    value = value.replace("$", "\\$").replace(f"gs://{BUCKET}/", "gs://$BUCKET/")
    return value.replace(f"projects/{PROJECT}/", "projects/$PROJECT/")


def _python(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=4).replace(": true", ": True")


def _hcl(values: Mapping[str, str], *, indent: int) -> str:
    width = max(map(len, values))
    lines = (
        f"{name:{width}} = {json.dumps(value).replace('${', '$${')}"
        for name, value in values.items()
    )
    return f"\n{' ' * indent}".join(lines)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
