include { memory_for ; prologue } from '../../functions/task'

/** Cells filled from their neighbours up to their targets. */
process IMPUTE {
    tag "${meta.id}"
    label 'process_low'
    memory { memory_for(slice) * task.attempt }

    input:
    tuple val(meta), path(slice), path(graph), path(targets)
    val settings

    output:
    tuple val(meta), path("${meta.id}.imputed.h5ad"), emit: imputed
    path "${meta.id}.imputed.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    propagate.py impute --input ${slice} --graph ${graph} --targets ${targets} \\
        --output ${meta.id}.imputed.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.imputed.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.imputed.h5ad ${meta.id}.imputed.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
