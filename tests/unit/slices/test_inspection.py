"""What slices and references say of each other, from the records of those who read them."""

import pytest

from lloki.slices import inspection

GENES = [f"Gene{i}" for i in range(20)]


def record(sample, genes=GENES, **more):
    return {
        "stage": "prepare_slice", "sample": sample, "technology": sample, "panel": f"{sample}-1",
        "organism": "mouse",
        "format": "h5ad", "cells": 100, "cells_dropped": 3, "genes": len(genes),
        "gene_names": list(genes), "dimensions": 2, "values": "X", "spatial_unit_um": 1.0,
        "unit_from": "as given", "controls": {}, "control_rate": None, "nonzero_fraction": 0.1,
        "labelled": {}, "labels": {}, "columns": "none", "input_sha256": sample,
        "parameters": {"region": None, "fov": None, "cells": None}, "warnings": [], **more,
    }  # fmt: skip


def reference(*samples, genes=GENES, **more):
    return {
        "stage": "check_reference", "samples": list(samples), "reference": "ref.h5ad",
        "cells": 50, "genes": len(genes), "gene_names": list(genes), "warnings": [], **more,
    }  # fmt: skip


def faulty(sample, line):
    return {"stage": "prepare_slice", "sample": sample, "fault": line, "warnings": []}


def test_inputs_that_fit_have_no_fault_and_no_doubt():
    slices, references = [record("a"), record("b")], [reference("a", "b")]
    assert inspection.faults(slices, references, [], 10) == []
    assert inspection.doubts(slices, references, []) == []


def test_a_slice_that_a_model_nearly_knows_is_told():
    slices = [record("Xenium"), record("b", technology="STARmap", panel="STARmap-2")]
    known = [("xenium", "Xenium-1"), ("STARmap", "STARmap-1"), ("STARmap", "p")]
    spelled, panel = inspection.doubts(slices, [], [], known)
    assert spelled == "technologies Xenium, xenium are different batches: is one meant?"
    assert panel.startswith("b: the model knows STARmap by STARmap-1, p, not by STARmap-2")
    known = [("Xenium", "Xenium-1"), ("STARmap", "STARmap-2")]
    assert inspection.doubts(slices, [], [], known) == []


def test_faults_of_all_files_are_told_together():
    slices = [
        record("a"),
        faulty("b", "b.h5ad: no counts; give some"),
        faulty("c", "c: gone; mend"),
    ]
    references = [{**reference("a", "b"), "fault": "ref.h5ad: not a readable file; copy it"}]
    assert inspection.faults(slices, references, [], 10) == [
        "b: b.h5ad: no counts; give some", "c: c: gone; mend",
        "reference: ref.h5ad: not a readable file; copy it",
    ]  # fmt: skip


def test_a_reference_has_to_share_genes_with_its_own_slices_only():
    slices = [record("a"), record("b", [f"OTHER{i}" for i in range(20)])]
    own = [reference("a"), reference("b", genes=[f"Other{i}" for i in range(9)])]
    (fault,) = inspection.faults(slices, own, [], 10)
    assert fault.startswith("b: it shares 9 genes with ref.h5ad, fewer than 10 (OTHER0, OTHER1")
    assert inspection.faults(slices, own, [], 9) == []


def test_flat_and_deep_slices_are_told_apart_by_name():
    slices = [record("a"), record("b", dimensions=3), record("c", dimensions=3)]
    (fault,) = inspection.faults(slices, [], [], 10)
    assert fault.startswith("coordinates are of 2 dimensions in a, of 3 in b, c;")
    assert inspection.faults(slices[1:], [], [], 10) == []


def test_a_column_of_labels_that_no_slice_has_is_a_fault_with_the_columns_there():
    slices = [record("a", columns="cell_type, area"), record("b", labelled={"type": 0})]
    (fault,) = inspection.faults(slices, [], ["type"], 10)
    assert "--cell_type_key type: no slice" in fault and "a has cell_type, area" in fault
    slices[0]["labelled"] = {"type": 4}
    assert inspection.faults(slices, [], ["type"], 10) == []


def test_names_of_another_kind_are_doubted_before_they_are_a_fault():
    genes = GENES + [f"X{i}" for i in range(200)]
    slices, others = (
        [record("a", genes)],
        reference("a", genes=[f"Y{i}" for i in range(300)] + GENES),
    )
    (doubt,) = inspection.doubts(slices, [others], [])
    assert doubt.startswith("a: only 20 of its 220 genes are among the 320 of ref.h5ad")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"gene_names": ["A"]}, {"gene_names": ["B"]}, "a and b share no gene (1 pair)"),
        ({"organism": "human"}, {}, "several species (a human, b mouse)"),
        ({"technology": "MERFISH"}, {"technology": "merfish"}, "technologies MERFISH, merfish"),
        ({"input_sha256": "1"}, {"input_sha256": "1"}, "a and b are files of the same content"),
        (
            {"labels": {"t": {"x": 1}}},
            {"labels": {"t": {"y": 1}}},
            "labels of t in a, b occur in no",
        ),
    ],
)
def test_what_two_slices_say_of_each_other(first, second, words):
    slices = [record("a") | first, record("b") | second]
    (doubt,) = inspection.doubts(slices, [], ["t"])
    assert words in doubt


def test_other_cells_of_the_same_files_are_no_repetition():
    slices = [
        record(name, input_sha256="1", parameters={"region": None, "fov": fov, "cells": None})
        for name, fov in (("a", "1-3"), ("b", "4"))
    ]
    assert inspection.doubts(slices, [], []) == []


def test_labels_are_apart_where_a_group_shares_none_with_any_other():
    kinds = {"a": ["x", "y"], "b": ["y"], "c": ["z"], "d": []}
    (warning,) = inspection.labels_apart(kinds, "type")
    assert warning.startswith("labels of type in c occur in no other (c: z)")
    assert inspection.labels_apart({"a": ["x"], "b": ["x"]}, "type") == []
    assert inspection.labels_apart({"a": ["x"], "b": []}, "type") == []


def test_the_table_has_a_row_for_every_slice_and_the_fewest_genes_that_it_shares():
    slices = [record("a"), record("b", GENES[:7]), faulty("c", "gone"), record("d", GENES[5:])]
    slices[0]["labels"] = {"type": {"x": 2, "y": 1}}
    slices[0]["controls"] = {"blank": {"features": 4}, "negative control": {"features": 2}}
    rows = inspection.table(slices, [reference("a", genes=GENES[:12])], ["type"])
    assert [row["sample"] for row in rows] == ["a", "b", "c", "d"]
    assert len({tuple(row) for row in rows}) == 1
    first, second, third, _ = rows
    assert (first["genes_in_reference"], first["labels_type"], first["controls"]) == (12, 2, 6)
    assert (first["fewest_genes_shared"], first["fewest_genes_shared_with"]) == (7, "b")
    assert (second["fewest_genes_shared"], second["fewest_genes_shared_with"]) == (2, "d")
    assert second["genes_in_reference"] is None
    assert third["fault"] == "gone" and third["cells"] is None
