include { memory_for ; prologue ; repeated } from '../../functions/task'

/** A small scGPT, trained on all slices and references. */
process PRETRAIN_SCGPT {
    label 'process_medium'
    label 'process_gpu'
    memory { memory_for(cells, 8) * task.attempt }

    input:
    path cells
    path references, stageAs: 'reference?/*'
    path mosaic, stageAs: 'mosaic_model'
    path orthologs
    val settings

    output:
    path 'scgpt', emit: checkpoint
    path 'scgpt.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    pretrain_scgpt.py ${repeated('--input', cells)} ${repeated('--input', references)} \\
        ${mosaic ? "--mosaic ${mosaic}" : ''} --orthologs ${orthologs} \\
        --output scgpt ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" scgpt.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir scgpt
    touch scgpt/args.json scgpt.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
