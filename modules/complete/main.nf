include { memory_for ; prologue ; repeated } from '../../functions/task'

/** The integrated file with what later stages found of its cells. */
process COMPLETE {
    label 'process_single'
    memory { memory_for(integrated, 2, 2) * task.attempt }

    input:
    path integrated, stageAs: 'joined/*'
    path cells
    val settings

    output:
    path 'integrated.h5ad', emit: integrated
    path 'integrated.zarr', emit: zarr, optional: true
    path 'complete.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    complete.py --input ${integrated} ${repeated('--cells', cells)} \\
        --output integrated.h5ad ${settings.options} ${task.ext.args ?: ''}
    mv integrated.json complete.json
    versions.py "${task.process}" complete.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch integrated.h5ad complete.json
    if [[ ' ${settings.options} ' == *' --zarr '* ]]; then
        mkdir integrated.zarr
    fi
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
