"""A run as a Workflow Run RO-Crate: JSON-LD by which platforms and repositories know what was made.

The terms are those of RO-Crate 1.1 and of the Workflow Run Crate profile 0.5
(https://w3id.org/ro/wfrun/workflow/0.5).
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lloki.support.checksum import sha256

CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
CRATES = ("https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0")
PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    CRATES[1],
)
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
COMPUTATION = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
WORKFLOW = "pipeline_info/main.nf"


def describe(record: dict, results: Sequence[str | Path]) -> dict:
    """The crate of a run, to be written as ro-crate-metadata.json into the folder of the results.

    record: as in run.json (pipeline, parameters, inputs); results: files that lie in that folder
    under their own names.
    """
    about, ended = record["pipeline"], datetime.now(UTC).isoformat(timespec="seconds")
    name, version = about["name"], about["version"]
    files = [_file(Path(path)) for path in sorted(results, key=lambda path: Path(path).name)]
    inputs = {entity["@id"]: entity for stage in record["inputs"] for entity in _inputs(stage)}
    given = {k: v for k, v in record["parameters"].items() if v is not None}
    values = [_value(key, value) for key, value in given.items()]
    formal = [
        {"@id": f"#formal-{key}", "@type": "FormalParameter", "name": key, "additionalType": "Text",
         "conformsTo": {"@id": PARAMETER}} for key in given
    ]  # fmt: skip
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Run of {name} {version}",
        "description": f"{len(results)} files of results, from {len(inputs)} inputs",
        "instrument": {"@id": WORKFLOW},
        "object": _refer([*inputs.values(), *values]),
        "result": _refer(files),
        "endTime": ended,
    }
    workflow = {
        "@id": WORKFLOW,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": name,
        "version": version,
        "encodingFormat": "text/plain",
        "conformsTo": {"@id": COMPUTATION},
        "programmingLanguage": {"@id": "#nextflow"},
        "input": _refer(formal),
    }
    language = {
        "@id": "#nextflow",
        "@type": "ComputerLanguage",
        "name": "Nextflow",
        "url": "https://www.nextflow.io/",
        "version": about["nextflow"],
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Slices integrated by {name}",
        "description": "Slices of spatial transcriptomics in one embedding, with a report",
        "datePublished": ended,
        "license": {"@id": "#licence"},
        "conformsTo": _refer([{"@id": profile} for profile in PROFILES]),
        "mainEntity": {"@id": WORKFLOW},
        "mentions": {"@id": "#run"},
        "hasPart": _refer([workflow, *files]),
    }
    licence = {
        "@id": "#licence",
        "@type": "CreativeWork",
        "name": "The licence of the data that went in",
        "description": "Results may be used as the data may from which they were computed",
    }
    metadata = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _refer([{"@id": crate} for crate in CRATES]),
    }
    profiles = [{"@id": profile, "@type": "CreativeWork", "name": profile} for profile in PROFILES]
    graph = [metadata, root, licence, workflow, language, action, *files, *inputs.values(), *values]
    return {"@context": CONTEXT, "@graph": graph + formal + profiles}


def _refer(entities: Sequence[dict]) -> list[dict]:
    return [{"@id": entity["@id"]} for entity in entities]


def _file(path: Path) -> dict:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"@id": path.name, "@type": "File", "name": path.name, "encodingFormat": kind,
            "contentSize": str(path.stat().st_size), "sha256": sha256(path)}  # fmt: skip


def _inputs(stage: dict) -> list[dict]:
    """What a stage read from outside; the same file is the same entity wherever it was read."""
    found = []
    for key, digest in stage.items():
        if key.endswith("_sha256"):
            name = stage.get(key.removesuffix("_sha256"), "input")
            found.append({"@id": f"#sha256-{digest}", "@type": "CreativeWork", "name": name,
                          "sha256": digest})  # fmt: skip
    return found


def _value(key: str, value: object) -> dict:
    return {"@id": f"#value-{key}", "@type": "PropertyValue", "name": key, "value": str(value),
            "exampleOfWork": {"@id": f"#formal-{key}"}}  # fmt: skip
