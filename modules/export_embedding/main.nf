include { memory_for ; prologue ; repeated } from '../../functions/task'

/** An embedding of all slices as a table. */
process EXPORT_EMBEDDING {
    tag "${name}"
    label 'process_single'
    memory { memory_for(embedded) * task.attempt }

    input:
    tuple val(name), path(embedded)
    val settings

    output:
    path "${name}.embedding.csv", emit: embedding
    path "${name}.embedding.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    export_embedding.py ${repeated('--input', embedded)} \\
        --output ${name}.embedding.csv ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${name}.embedding.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${name}.embedding.csv ${name}.embedding.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
