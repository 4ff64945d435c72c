include { memory_for ; prologue } from '../../functions/task'

/** A slice of a former run, to stand beside new ones, if it lies in the embedding that they are mapped into. */
process FORMER_SLICE {
    tag "${meta.id}"
    label 'process_single'
    memory { memory_for(lloki, 1) * task.attempt }

    input:
    tuple val(meta), path(lloki), path(slice)
    path model, stageAs: 'model'
    val settings

    output:
    tuple val(meta), path("${meta.id}.lloki.h5ad", includeInputs: true), emit: lloki
    tuple val(meta), path("${meta.id}.slice.h5ad", includeInputs: true), emit: slice
    path "${meta.id}.former.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    former_slice.py --input ${lloki} --slice ${slice} --model ${model} \\
        --output ${meta.id}.former.json ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.former.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.former.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
