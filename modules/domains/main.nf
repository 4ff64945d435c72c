include { memory_for ; prologue } from '../../functions/task'

/** Tissue domains of all slices, and which labels lie beside one another. */
process DOMAINS {
    label 'process_medium'
    memory { memory_for(integrated, 2, 10) * task.attempt }

    input:
    path integrated
    path labels
    val settings

    output:
    path 'domains/*.csv', emit: tables
    path 'domains.cells.h5ad', emit: cells
    path 'domains.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    domains.py --input ${integrated} ${labels ? "--labels ${labels}" : ''} \\
        --output domains --cells domains.cells.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" domains.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir domains
    touch domains/domains.csv domains.cells.h5ad domains.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
