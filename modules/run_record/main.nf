include { command_line } from '../../functions/parameters'
include { prologue ; repeated } from '../../functions/task'

/** What was run on what, so that a result can be made again. */
process RUN_RECORD {
    label 'process_single'
    memory { 2.GB * task.attempt }

    input:
    path records
    path versions, name: 'versions.yml'
    path parameters, name: 'parameters.json'
    path results
    path index, name: 'results.json'
    path workflow_file, stageAs: 'workflow/*'
    val about
    val settings

    output:
    path 'run.json', emit: json
    path 'ro-crate-metadata.json', emit: crate
    path 'index.{csv,json}', arity: '2', emit: index
    path 'main.nf', emit: source
    path 'software_versions.yml', emit: versions

    script:
    """
    ${prologue(task.cpus, settings)}
    cp -L ${versions} software_versions.yml
    cp -L ${workflow_file} main.nf
    run_record.py ${repeated('--input', records)} \\
        --parameters ${parameters} ${repeated('--result', results)} ${command_line('--about': about)} \\
        --index ${index} \\
        --output run.json ${settings.options} ${task.ext.args ?: ''}
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    cp -L ${versions} software_versions.yml
    cp -L ${workflow_file} main.nf
    cp -L ${index} index.json
    printf '{"pipeline": {"session": "%s"}}' '${workflow.sessionId}' > run.json
    touch ro-crate-metadata.json index.csv
    """
}
