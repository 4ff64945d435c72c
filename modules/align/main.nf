include { memory_for ; prologue ; repeated } from '../../functions/task'

/** The slices of each group in one frame, by their pairs. */
process ALIGN {
    label 'process_single'
    memory { memory_for(lloki, 4, 10) * task.attempt }

    input:
    path lloki
    path pairs
    val settings

    output:
    path 'aligned/*.lloki.h5ad', arity: '1..*', emit: lloki
    path 'aligned/transforms.csv', emit: transforms
    path 'aligned.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    align.py ${repeated('--input', lloki)} ${repeated('--pairs', pairs)} \\
        --output aligned ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" aligned.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir aligned
    touch aligned/transforms.csv aligned.json
    for file in ${lloki}; do touch aligned/\$file; done
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
