include { prologue ; repeated } from '../../functions/task'

/** All slices and references against each other: their faults and doubts at once, and what the run will take. */
process CHECK_INPUTS {
    label 'process_single'
    memory { 2.GB * task.attempt }

    input:
    path slices
    path references
    path model // model.json of the run to map onto, or none
    val settings

    output:
    path 'inputs.csv', emit: table
    path 'inputs.txt', emit: text
    path 'inputs.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    check_inputs.py ${repeated('--input', slices)} ${repeated('--reference', references)} \\
        ${model ? "--model ${model}" : ''} --output inputs.csv ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" inputs.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch inputs.csv inputs.txt inputs.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
