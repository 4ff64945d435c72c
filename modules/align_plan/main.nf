include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Which slices are aligned with which. */
process ALIGN_PLAN {
    label 'process_single'
    memory { memory_for(lloki, 2, 1) * task.attempt }

    input:
    path lloki
    val settings

    output:
    path 'plan.csv', emit: plan
    path 'plan.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    align_plan.py ${repeated('--input', lloki)} \\
        --output plan.csv ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" plan.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    set -- ${lloki instanceof List ? lloki.collect { path -> path.name.tokenize('.')[0] }.join(' ') : lloki.name.tokenize('.')[0]}
    first=\$1; shift; task=0
    { echo task,fixed,moving; for other; do echo \$task,\$first,\$other; task=\$((task + 1)); done; } > plan.csv
    touch plan.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
