include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Programs of the embedding that cells of all slices mix, their types and their genes. */
process METAGENES {
    label 'process_medium'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    path integrated, stageAs: 'joined/*'
    path slices
    path gene_sets
    path model
    val settings

    output:
    path 'integrated.h5ad', emit: integrated
    path 'metagenes', emit: metagenes
    path 'metagenes.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    metagenes.py --input ${integrated} ${repeated('--slice', slices)} \\
        ${gene_sets ? "--gene-sets ${gene_sets}" : ''} ${model ? "--model ${model}" : ''} \\
        --output metagenes --joined integrated.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" metagenes.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir metagenes
    touch integrated.h5ad metagenes.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
