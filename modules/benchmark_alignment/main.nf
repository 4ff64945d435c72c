include { memory_for ; prologue ; repeated } from '../../functions/task'

/** LLOKI's alignment beside other ways to align the same slices. */
process BENCHMARK_ALIGNMENT {
    label 'process_medium'
    memory { memory_for(slices, 4) * task.attempt }

    input:
    path lloki
    path slices
    val settings

    output:
    path 'alignment_scores.csv', emit: scores
    path 'alignment_scores.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    benchmark_alignment.py ${repeated('--input', lloki)} \\
        ${repeated('--slice', slices)} \\
        --output alignment_scores.csv ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" alignment_scores.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch alignment_scores.csv alignment_scores.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
