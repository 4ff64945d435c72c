include { memory_for ; prologue ; repeated } from '../../functions/task'

/** The autoencoder trained in another way, and the embedding of all slices that it gives: an ablation. */
process CAE_VARIANT {
    tag "${name}"
    label 'process_medium'
    label 'process_gpu'
    memory { memory_for(slices, 4, 10) * task.attempt }

    input:
    tuple val(name), val(options), path(fp), path(mosaic, stageAs: 'mosaic')
    path slices
    val settings
    val infer_settings

    output:
    path "${name}.embedding.csv", emit: embedding
    path "${name}.embedding.json", emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    train_cae.py ${repeated('--input', fp)} ${repeated('--slice', slices)} \\
        ${mosaic ? "--mosaic ${mosaic}" : ''} --output cae ${settings.options} ${options} ${task.ext.args ?: ''}
    mkdir latent
    for slice in ${fp}; do
        infer_cae.py --input \$slice --model cae --output latent/\$slice ${infer_settings.options}
    done
    export_embedding.py ${repeated('--input', fp instanceof List ? fp.collect { path -> "latent/${path}" } : "latent/${fp}")} \\
        --output ${name}.embedding.csv
    versions.py "${task.process}" cae.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${options} ${task.ext.args ?: ''}
    touch ${name}.embedding.csv ${name}.embedding.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
