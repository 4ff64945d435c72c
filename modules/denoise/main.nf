include { memory_for ; prologue } from '../../functions/task'

/** Imputed cells smoothed by one step on their own graph. */
process DENOISE {
    tag "${meta.id}"
    label 'process_low'
    memory { memory_for([slice, imputed]) * task.attempt }

    input:
    tuple val(meta), path(slice), path(imputed), path(graph)
    val settings

    output:
    tuple val(meta), path("${meta.id}.denoised.h5ad"), emit: denoised
    path "${meta.id}.denoised.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    propagate.py denoise --input ${slice} --imputed ${imputed} --graph ${graph} \\
        --output ${meta.id}.denoised.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.denoised.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.denoised.h5ad ${meta.id}.denoised.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
