include { command_line } from '../../functions/parameters'
include { memory_for ; prologue } from '../../functions/task'

/** Counts and coordinates of one slice, in the form that every later stage reads. */
process PREPARE_SLICE {
    tag "${meta.id}"
    label 'process_single'
    memory { memory_for(input) * task.attempt }

    input:
    tuple val(meta), path(input, stageAs: 'input/*'), path(coordinates, stageAs: 'coordinates/*'), path(cells, stageAs: 'cells/*')
    val settings

    output:
    tuple val(meta), path("${meta.id}.slice.h5ad"), emit: slice, optional: true // none where the input is faulty: see CHECK_INPUTS
    path "${meta.id}.slice.json", emit: json
    path 'versions.yml', emit: versions

    script:
    def described = command_line(
        '--coordinates': coordinates ?: null,
        '--technology': meta.technology,
        '--panel': meta.panel,
        '--organism': meta.organism,
        '--spatial-unit-um': meta.spatial_unit_um,
        '--format': meta.format,
        '--region': meta.region,
        '--fov': meta.fov,
        '--cells': cells ?: null,
        '--counts-layer': meta.counts_layer,
        '--normalized/--no-normalized': meta.normalized,
        '--subject': meta.subject,
        '--align-group': meta.align_group,
        '--z': meta.z,
        '--embedding-model': meta.embedding_model,
    )
    """
    ${prologue(task.cpus, settings)}
    prepare_slice.py --input ${meta.folder ? 'input' : input} --sample ${meta.id} \\
        --output ${meta.id}.slice.h5ad ${settings.options} ${described} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.slice.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.slice.h5ad ${meta.id}.slice.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
