include { memory_for ; prologue } from '../../functions/task'

/** A slice's cells in the space of a mosaic model. */
process MOSAIC_EMBED {
    tag "${meta.id}"
    label 'process_low'
    memory { memory_for(cells) * task.attempt }

    input:
    tuple val(meta), path(cells)
    path model, stageAs: 'model'
    val settings

    output:
    tuple val(meta), path("${meta.id}.fp.h5ad"), emit: fp
    path "${meta.id}.fp.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    mosaic_embed.py --input ${cells} --model ${model} \\
        --output ${meta.id}.fp.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.fp.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.fp.h5ad ${meta.id}.fp.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
