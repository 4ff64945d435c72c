include { memory_for ; prologue } from '../../functions/task'

/** A slice's cells in the latent space of all slices. */
process INFER_CAE {
    tag "${meta.id}"
    label 'process_low'
    label 'process_gpu'
    memory { memory_for(fp) * task.attempt }

    input:
    tuple val(meta), path(fp)
    path model, stageAs: 'model'
    val settings

    output:
    tuple val(meta), path("${meta.id}.lloki.h5ad"), emit: lloki
    path "${meta.id}.lloki.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    infer_cae.py --input ${fp} --model ${model} \\
        --output ${meta.id}.lloki.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.lloki.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.lloki.h5ad ${meta.id}.lloki.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
