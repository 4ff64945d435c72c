include { memory_for ; prologue } from '../../functions/task'

/** What the run found, as the viewers of the instruments take it: a folder for each slice. */
process VIEWER_FILES {
    label 'process_low'
    memory { memory_for(integrated, 2, 10) * task.attempt }

    input:
    path integrated
    val settings

    output:
    path 'viewer', emit: viewer
    path 'viewer.json', emit: json
    path 'versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    viewer_files.py --input ${integrated} --output viewer ${settings.options} ${task.ext.args ?: ''}
    versions.py "${task.process}" viewer.json > versions.yml
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    mkdir viewer
    touch viewer.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
