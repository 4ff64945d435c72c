include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Metrics and pictures of the embeddings. */
process BENCHMARK {
    label 'process_medium'
    memory { memory_for(integrated, 4, 10) * task.attempt }

    input:
    path integrated
    path external
    path not_run
    val settings

    output:
    path 'benchmark/metrics.csv', emit: metrics
    path 'benchmark/coherence.csv', emit: coherence
    path 'benchmark/embeddings.h5ad', emit: embeddings
    path 'benchmark/*.{pdf,png}', emit: figures, optional: true
    path 'benchmark.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    benchmark.py --input ${integrated} ${repeated('--external', external)} ${repeated('--not-run', not_run)} \\
        --output benchmark ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" benchmark.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir benchmark
    touch benchmark/metrics.csv benchmark/coherence.csv benchmark/embeddings.h5ad benchmark.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
