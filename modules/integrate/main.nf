include { prologue ; repeated } from '../../functions/task'

/** All cells of all slices in one file, with a baseline and UMAPs. */
process INTEGRATE {
    label 'process_medium'

    input:
    path lloki
    path slices
    val stage

    output:
    path 'integrated.h5ad', emit: integrated
    path 'integrated.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, stage)}
    integrate.py ${repeated('--input', lloki)} ${repeated('--slice', slices)} \\
        --output integrated.h5ad ${stage.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" integrated.json > versions.yml
    """

    stub:
    """
    touch integrated.h5ad integrated.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
