include { memory_for ; prologue } from '../../functions/task'

/** A slice's cells as scGPT sees them. */
process SCGPT_EMBED {
    tag "${meta.id}"
    label 'process_medium'
    label 'process_gpu'
    memory { memory_for(cells, 6) * task.attempt }

    input:
    tuple val(meta), path(cells)
    path checkpoint, stageAs: 'checkpoint'
    path orthologs
    val settings

    output:
    tuple val(meta), path("${meta.id}.fp.h5ad"), emit: fp
    path "${meta.id}.fp.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    scgpt_embed.py --input ${cells} --checkpoint ${checkpoint} --orthologs ${orthologs} \\
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
