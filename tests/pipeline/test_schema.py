"""nextflow_schema.json: it agrees with the scripts' own options, the configuration and the docs."""

import importlib
import json
import re
import subprocess
import sys

import click
import jsonschema
import pytest
from nextflow_run import ROOT

SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
PARAMETERS = {n: p for group in SCHEMA["$defs"].values() for n, p in group["properties"].items()}
MAPPED = [
    (name, stage, option)
    for name, p in PARAMETERS.items() for stage, option in p.get("options", {}).items()
]  # fmt: skip
STAGES = """
prepare_slice check_reference check_inputs
build_graph ot_sparsity impute denoise pretrain_scgpt scgpt_embed fit_mosaic
mosaic_embed take_embedding train_cae infer_cae gather_model former_slice
align_plan align_pairs align benchmark_alignment integrate
annotate metagenes niche_program cluster domains complete join_shared baseline export_embedding
benchmark
viewer_files report
""".split()

# What the processes give a script: files, and what the samplesheet says of a slice.
GIVEN = {
    "prepare_slice": "coordinates sample technology panel organism spatial_unit_um label_key form "
    "region fov cells subject align_group z embedding_model record_fault",
    "check_reference": "sample record_fault",
    "check_inputs": "reference label_key embedder methods model record_fault",
    "ot_sparsity": "reference full",
    "impute": "graph targets",
    "denoise": "graph imputed",
    "pretrain_scgpt": "mosaic orthologs organism checkpoint_every resume",
    "scgpt_embed": "checkpoint orthologs organism",
    "mosaic_embed": "model",
    "fit_mosaic": "reference",
    "train_cae": "expression mosaic adapt_from checkpoint checkpoint_seconds",
    "infer_cae": "model",
    "gather_model": "mosaic reference metagenes niches setting",
    "former_slice": "slice model",
    "align_plan": "task_cells",
    "align_pairs": "plan task",
    "align": "pairs",
    "integrate": "slice",
    "annotate": "slice reference reference_of model label_key label_map hierarchy found_file",
    "metagenes": "slice label_key found gene_sets model",
    "niche_program": "slice label_key found cells model",
    "cluster": "slice label_key found labels",
    "domains": "label_key found labels",
    "complete": "cells",
    "join_shared": "",
    "baseline": "embedding slice reference",
    "export_embedding": "key",
    "benchmark": "label_key embedding external not_run expected",
    "benchmark_alignment": "slice label_key",
    "viewer_files": "label_key",
    "report": "integrated metrics coherence embeddings history transforms "
    "alignment_scores metagenes annotation niches versions params index run_command label_key",
}


def command(stage):
    """The click command of a stage."""
    if stage == "baseline":
        return importlib.import_module("baseline_harmony").main  # all are of one kind
    if stage in ("impute", "denoise"):
        return importlib.import_module("propagate").main.commands[stage]
    return importlib.import_module(stage).main


def options(stage):
    return [p for p in command(stage).params if isinstance(p, click.Option)]


@pytest.mark.parametrize(("name", "stage", "option"), MAPPED)
def test_a_parameter_is_an_option_with_the_same_default_and_limits(name, stage, option):
    property = PARAMETERS[name]
    (found,) = [o for o in options(stage) if option.split("/")[0] in o.opts]
    assert option == "/".join([found.opts[0], *found.secondary_opts])
    default = found.to_info_dict()["default"]
    if found.multiple:
        default = property["separator"].join(default or ()) or None
    assert property.get("default") == default
    if isinstance(found.type, click.Choice):
        assert property["enum"] == list(found.type.choices)
    if isinstance(found.type, click.types._NumberRangeBase):
        lower = "exclusiveMinimum" if found.type.min_open else "minimum"
        assert property.get(lower) == found.type.min
        assert property.get("maximum") == found.type.max
    kinds = {"integer": click.INT, "number": click.FLOAT, "boolean": click.BOOL}
    if property["type"] in kinds:
        assert found.type.name.startswith(kinds[property["type"]].name)


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_of_a_stage_is_within_reach_of_the_pipeline(stage):
    given = {"input", "output", "help", "version", *GIVEN.get(stage, "").split()}
    mapped = {o.split("/")[0] for _, s, o in MAPPED if s == stage}
    assert {o.opts[0] for o in options(stage) if o.name not in given} == mapped


def test_the_configuration_lists_the_same_parameters():
    config = (ROOT / "nextflow.config").read_text()
    block = re.search(r"^params \{\n(.*?)^\}", config, re.M | re.S)[1]
    settings = dict(re.findall(r"^    (\w+)\s+= (.*)$", block, re.M))
    made = {"container_images"}  # conf/containers.config makes it of others
    assert list(settings) == [name for name in PARAMETERS if name not in made]
    for name, value in settings.items():
        if "options" in PARAMETERS[name]:
            assert value == "null", f"{name}: the script's default holds"
        elif value != "null" and "params." not in value:
            assert json.loads(value.replace("'", '"')) == PARAMETERS[name]["default"]


def test_the_schemas_are_schemas_and_their_defaults_are_valid():
    samplesheet = json.loads((ROOT / "assets/schema_input.json").read_text())
    for schema in (SCHEMA, samplesheet):
        jsonschema.Draft202012Validator.check_schema(schema)
    for property in PARAMETERS.values():
        if "default" in property:
            jsonschema.validate(property["default"], property)
    assert all("errorMessage" in p for p in samplesheet["items"]["properties"].values())


def test_the_page_of_parameters_is_up_to_date():
    subprocess.run([sys.executable, ROOT / "tools/make_parameters.py", "--check"], check=True)
