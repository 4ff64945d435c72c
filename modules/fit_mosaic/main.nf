include { memory_for ; prologue ; repeated } from '../../functions/task'

/** One low-rank model of all slices and references, whatever their panels. */
process FIT_MOSAIC {
    label 'process_medium'
    memory { memory_for([cells, references], 2, 10) * task.attempt }

    input:
    path cells
    path references, stageAs: 'reference?/*'
    val settings

    output:
    path 'mosaic', emit: model
    path 'mosaic.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    fit_mosaic.py ${repeated('--input', cells)} ${repeated('--reference', references)} \\
        --output mosaic ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" mosaic.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir mosaic
    touch mosaic/config.json mosaic.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
