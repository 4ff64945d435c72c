include { memory_for ; prologue ; repeated } from '../../functions/task'

/** All slices on the genes that they share, as plain files that any program can read. */
process JOIN_SHARED {
    label 'process_low'
    memory { memory_for(slices) * task.attempt }

    input:
    path slices
    val settings

    output:
    path 'shared', emit: shared
    path 'shared.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    join_shared.py ${repeated('--input', slices)} \\
        --output shared ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" shared.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir shared
    touch shared.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
