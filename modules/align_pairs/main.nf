include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Pairs of slices laid on each other, each by itself. */
process ALIGN_PAIRS {
    tag "${number}"
    label 'process_low'
    memory { memory_for(lloki, 2) * task.attempt }

    input:
    tuple val(number), path(lloki), path(plan)
    val settings

    output:
    path "${number}.pairs.npz", emit: pairs
    path "${number}.pairs.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    align_pairs.py ${repeated('--input', lloki)} --plan ${plan} --task ${number} \\
        --output ${number}.pairs.npz ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${number}.pairs.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${number}.pairs.npz ${number}.pairs.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
