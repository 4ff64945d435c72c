include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Clusters of the cells of all slices, on two levels, and the genes of every panel that mark them. */
process CLUSTER {
    label 'process_medium'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    path integrated
    path slices
    path labels
    val settings

    output:
    path 'clusters/*.csv', emit: tables
    path 'cluster.cells.h5ad', emit: cells
    path 'clusters.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    cluster.py --input ${integrated} ${repeated('--slice', slices)} ${labels ? "--labels ${labels}" : ''} \\
        --output clusters --cells cluster.cells.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" clusters.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir clusters
    touch clusters/clusters.csv clusters/markers.csv cluster.cells.h5ad clusters.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
