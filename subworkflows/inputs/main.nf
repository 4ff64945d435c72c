include { PREPARE_SLICE } from '../../modules/prepare_slice/main'
include { CHECK_REFERENCE } from '../../modules/check_reference/main'
include { CHECK_INPUTS } from '../../modules/check_inputs/main'
include { published } from '../../functions/index'
include { embedder ; fault_list ; given ; model_folder ; settings } from '../../functions/parameters'
include { by_name ; told_faults } from '../../functions/task'

/** Slices and references read and checked against each other: nothing goes on before all have passed. */
workflow INPUTS {
    take:
    samples // [meta, input, coordinates, cells, reference]
    labels // columns of obs, a list
    methods // that are compared with LLOKI, a list

    main:
    PREPARE_SLICE(
        samples.map { meta, input, coordinates, cells, _reference -> [meta, input, coordinates, cells] },
        settings('prepare_slice', ['--label-key': labels, '--record-fault': true]),
    )
    served = samples
        .filter { row -> row[4] } // none where slices bring their embedding along
        .map { meta, _input, _coordinates, _cells, reference -> [reference, meta.id] }
        .groupTuple(sort: true)
        .map { reference, names -> [names, reference] }
    CHECK_REFERENCE(served, settings('check_reference', ['--record-fault': true]))
    CHECK_INPUTS(
        by_name(PREPARE_SLICE.out.json), by_name(CHECK_REFERENCE.out.json), model_folder() ? model_folder().resolve('model.json') : [],
        settings('check_inputs', ['--label-key': labels, '--embedder': embedder(), '--methods': methods.size(), '--record-fault': true]),
    )
    faults = CHECK_INPUTS.out.json.map { record -> told_faults(record) }
    faults.filter { told -> told }.subscribe { told -> error(fault_list('the inputs', told, 'nothing was computed')) }
    if (given().check) {
        CHECK_INPUTS.out.text.view { text -> text.text }
    }
    passed = faults.filter { told -> !told && !given().check }.map { _told -> true }
    slice = PREPARE_SLICE.out.slice.combine(passed).map { meta, slice, _passed -> [meta, slice] }
    reference = samples.filter { row -> row[4] }.combine(passed).map { row -> [row[0], row[4]] }
    json = PREPARE_SLICE.out.json.mix(CHECK_INPUTS.out.json)
    versions = PREPARE_SLICE.out.versions.mix(CHECK_REFERENCE.out.versions, CHECK_INPUTS.out.versions)
    results = published(prepare_slice: PREPARE_SLICE.out, check_reference: CHECK_REFERENCE.out, check_inputs: CHECK_INPUTS.out)

    emit:
    slice
    reference
    json
    versions
    results
}
