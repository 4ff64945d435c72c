include { memory_for ; prologue ; repeated } from '../../functions/task'

/** What a reference holds, read as the stages read it; a faulty one is told with the faults of all. */
process CHECK_REFERENCE {
    tag "${reference.name.tokenize('/').last()}"
    label 'process_single'
    memory { memory_for(reference) * task.attempt }

    input:
    tuple val(samples), path(reference, stageAs: 'reference/*')
    val settings

    output:
    path "${samples[0]}.reference.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    check_reference.py --input ${reference} ${repeated('--sample', samples)} \\
        --output ${samples[0]}.reference.json ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${samples[0]}.reference.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${samples[0]}.reference.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
