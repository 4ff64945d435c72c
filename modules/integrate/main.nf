include { memory_for ; prologue ; repeated } from '../../functions/task'

/** All cells of all slices in one file, with a baseline and UMAPs. */
process INTEGRATE {
    label 'process_medium'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    path lloki
    path slices
    val settings

    output:
    path 'integrated.h5ad', emit: integrated
    path 'embedding.csv', emit: table
    path 'integrated.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    integrate.py ${repeated('--input', lloki)} ${repeated('--slice', slices)} \\
        --output integrated.h5ad ${settings.options} ${task.ext.args ?: ''}
    export_embedding.py --input integrated.h5ad --key X_lloki --output embedding.csv
    versions.py "${task.process}" integrated.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch integrated.h5ad integrated.json embedding.csv
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
