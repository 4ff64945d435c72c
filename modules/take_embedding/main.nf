include { memory_for ; prologue } from '../../functions/task'

/** The embedding that a slice brought along, as every later stage reads one. */
process TAKE_EMBEDDING {
    tag "${meta.id}"
    label 'process_single'
    memory { memory_for(slice) * task.attempt }

    input:
    tuple val(meta), path(slice)
    val settings

    output:
    tuple val(meta), path("${meta.id}.fp.h5ad"), emit: fp
    path "${meta.id}.fp.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    take_embedding.py --input ${slice} --output ${meta.id}.fp.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.fp.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.fp.h5ad ${meta.id}.fp.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
