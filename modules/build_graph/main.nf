include { memory_for ; prologue } from '../../functions/task'

/** Graph of a slice's cells: neighbours in expression, weighted by distance in space. */
process BUILD_GRAPH {
    tag "${meta.id}"
    label 'process_low'
    memory { memory_for(cells) * task.attempt }

    input:
    tuple val(meta), path(cells)
    val settings

    output:
    tuple val(meta), path("*.graph.npz"), emit: graph
    path '*.graph.json', emit: json
    path 'versions.yml', emit: versions

    script:
    def name = cells.name.replaceFirst(/(\.slice)?\.h5ad$/, '')
    """
    ${prologue(task.cpus, settings)}
    build_graph.py --input ${cells} \\
        --output ${name}.graph.npz ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${name}.graph.json > versions.yml
    """

    stub:
    def name = cells.name.replaceFirst(/(\.slice)?\.h5ad$/, '')
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${name}.graph.npz ${name}.graph.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
