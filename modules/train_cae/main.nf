include { memory_for ; prologue ; repeated } from '../../functions/task'

/** The conditional autoencoder, trained on all slices. */
process TRAIN_CAE {
    label 'process_medium'
    label 'process_gpu'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    path fp
    path slices
    path adapted, stageAs: 'adapt_from'
    path mosaic, stageAs: 'mosaic'
    val settings

    output:
    path 'cae', emit: model
    path 'cae/history.csv', emit: history
    path 'cae.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    train_cae.py ${repeated('--input', fp)} ${repeated('--slice', slices)} \\
        ${adapted ? "--adapt-from ${adapted}" : ''} ${mosaic ? "--mosaic ${mosaic}" : ''} --output cae ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" cae.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir cae
    touch cae/config.json cae/history.csv cae.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
