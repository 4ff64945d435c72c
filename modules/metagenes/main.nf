include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Programs of the embedding that cells of all slices mix, their types and their genes. */
process METAGENES {
    label 'process_medium'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    path integrated
    path slices
    path gene_sets
    path model
    val settings

    output:
    path 'metagenes', emit: metagenes
    path 'metagenes.cells.h5ad', emit: cells
    path 'metagenes.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    metagenes.py --input ${integrated} ${repeated('--slice', slices)} \\
        ${gene_sets ? "--gene-sets ${gene_sets}" : ''} ${model ? "--model ${model}" : ''} \\
        --output metagenes --cells metagenes.cells.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" metagenes.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir metagenes
    touch metagenes.cells.h5ad metagenes.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
