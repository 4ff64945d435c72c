include { memory_for ; prologue ; repeated } from '../../functions/task'

/** All that new slices need to join this run's embedding, in one folder: --model takes it. */
process GATHER_MODEL {
    label 'process_single'
    memory { memory_for(references) * task.attempt }

    input:
    path cae
    path mosaic, stageAs: 'mosaic_model'
    path references, stageAs: 'reference?/*'
    path metagenes
    path niches
    val settings

    output:
    path 'model', emit: model
    path 'model.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    gather_model.py --input ${cae} ${mosaic ? "--mosaic ${mosaic}" : ''} ${repeated('--reference', references)} \\
        ${metagenes ? "--metagenes ${metagenes}" : ''} ${niches ? "--niches ${niches}" : ''} --output model ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" model.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir model
    mkdir model/cae model/mosaic
    printf '{"embedder": "mosaic", "references": [], "settings": {}}' > model/model.json
    touch model.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
