include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Genes of one kind of cell that go with how much of another is around it. */
process NICHE_PROGRAM {
    label 'process_low'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    path integrated
    path slices
    path cells
    path model, stageAs: 'earlier/*'
    val settings

    output:
    path 'niches', emit: niches
    path 'niches.cells.h5ad', emit: cells
    path 'niches.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    niche_program.py --input ${integrated} ${repeated('--slice', slices)} ${repeated('--cells', cells)} \\
        ${model ? "--model ${model}" : ''} \\
        --output niches --found niches.cells.h5ad ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" niches.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir niches
    touch niches.cells.h5ad niches.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
