include { memory_for ; prologue ; repeated } from '../../functions/task'

/** Labels of references and of labelled slices carried over to every cell, with their probabilities. */
process ANNOTATE {
    label 'process_medium'
    memory { memory_for([integrated, references], 3, 10) * task.attempt }

    input:
    path integrated
    path slices
    path references, stageAs: 'reference?/*'
    path model // of the mosaic
    path label_map
    path hierarchy
    val reference_of // SAMPLE=N: the number of its reference
    val settings

    output:
    path 'annotation/*.csv', emit: tables
    path 'annotate.cells.h5ad', emit: cells
    path 'annotate.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    annotate.py --input ${integrated} ${repeated('--slice', slices)} ${repeated('--reference', references)} \\
        ${repeated('--reference-of', reference_of)} ${model ? "--model ${model}" : ''} \\
        ${label_map ? "--label-map ${label_map}" : ''} ${hierarchy ? "--hierarchy ${hierarchy}" : ''} \\
        --output annotation --cells annotate.cells.h5ad ${settings.options} ${task.ext.args ?: ''}
    mv annotation.json annotate.json
    versions.py "${task.process}" annotate.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir annotation
    touch annotation/labels.csv annotate.cells.h5ad annotate.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
