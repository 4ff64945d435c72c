include { memory_for ; prologue ; repeated } from '../../functions/task'

/** What every stage recorded, scores and pictures, on one page. */
process REPORT {
    label 'process_low'
    memory { memory_for(integrated, 2, 10) * task.attempt }

    input:
    path records
    path integrated
    path metrics
    path coherence
    path embeddings
    path history
    path transforms
    path alignment_scores
    path metagenes
    path annotation, stageAs: 'annotation/*'
    path niches
    path versions, name: 'software_versions.yml'
    path parameters, name: 'parameters.json'
    path index, name: 'files.json'
    val settings

    output:
    path 'report.html', emit: html
    path 'figures/*', emit: figures, optional: true
    path 'lloki_mqc.json', emit: multiqc
    path 'report.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    report.py ${repeated('--input', records)} \\
        --integrated ${integrated} --metrics ${metrics} --history ${history} --transforms ${transforms} \\
        ${alignment_scores ? "--alignment-scores ${alignment_scores}" : ''} \\
        ${metagenes ? "--metagenes ${metagenes}" : ''} ${annotation ? '--annotation annotation' : ''} \\
        ${niches ? "--niches ${niches}" : ''} \\
        --coherence ${coherence} --embeddings ${embeddings} \\
        --versions ${versions} --params ${parameters} --index ${index} \\
        --output report.html ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" report.json jinja2 matplotlib > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch report.html report.json lloki_mqc.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
