include { memory_for ; prologue } from '../../functions/task'

/** How full each cell should be, from the reference's distribution. */
process OT_SPARSITY {
    tag "${meta.id}"
    label 'process_low'
    memory { memory_for([slice, reference]) * task.attempt }

    input:
    tuple val(meta), path(slice), path(reference, stageAs: 'reference/*')
    val settings

    output:
    tuple val(meta), path("${meta.id}.targets.csv"), emit: targets
    path "${meta.id}.targets.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    ot_sparsity.py --input ${slice} --reference ${reference} \\
        --output ${meta.id}.targets.csv ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" ${meta.id}.targets.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${meta.id}.targets.csv ${meta.id}.targets.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
