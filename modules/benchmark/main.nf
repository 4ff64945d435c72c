include { prologue } from '../../functions/task'

/** Metrics and pictures of the embeddings. */
process BENCHMARK {
    label 'process_medium'

    input:
    path integrated
    val stage

    output:
    path 'benchmark/metrics.csv', emit: metrics
    path 'benchmark/*.{pdf,png}', emit: figures, optional: true
    path 'benchmark.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, stage)}
    benchmark.py --input ${integrated} \\
        --output benchmark ${stage.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" benchmark.json > versions.yml
    """

    stub:
    """
    mkdir benchmark
    touch benchmark/metrics.csv benchmark.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
