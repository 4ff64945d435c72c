include { add_environment ; prologue ; repeated } from '../../functions/task'

/**
 * Another method: on the genes that all slices share, on LLOKI-FP, or on whole panels and the references.
 * bin/lloki/scores/baselines.csv names its program and its image.
 *
 * One that cannot run says why in NAME.not_run.txt, and the pipeline goes on; so it does when the task
 * fails altogether, for want of an image for instance.
 */
process BASELINE {
    tag "${method.method}"
    label 'process_medium'
    memory { 12.GB * task.attempt }
    container "${task.ext.images[method.environment]}"
    errorStrategy { task.exitStatus in 130..145 && task.attempt <= 2 ? 'retry' : 'ignore' }

    input:
    tuple val(method), path(embedded), path(slices), path(references)
    path shared
    val settings

    output:
    path "${method.method}.embedding.csv", emit: embedding, optional: true
    path "${method.method}.not_run.txt", emit: not_run, optional: true
    path "${method.method}.embedding.json", emit: json, optional: true
    path 'versions.yml', emit: versions, optional: true

    script:
    """
    ${prologue(task.cpus, settings)}
    ${add_environment(method.environment)}
    status=0
    ${method.program} --input ${shared} ${repeated('--embedding', embedded)} \\
        ${repeated('--slice', slices)} ${repeated('--reference', references)} \\
        --output ${method.method}.embedding.csv ${settings.options} ${task.ext.args ?: ''} 2> said || status=\$?
    cat said >&2
    if [ \$status -ge 128 ]; then
        exit \$status
    elif [ \$status -ne 0 ]; then
        reason=\$(grep . said | tail -n 1)
        case "\$reason" in *"No such file or directory") reason="\${reason##*env: }"; reason="\${reason%%: *} is not installed here" ;; esac
        echo "\${reason#baseline: }" > ${method.method}.not_run.txt
    else
        versions.py "${task.process}" ${method.method}.embedding.json > versions.yml
    fi
    """

    stub:
    """
    : ${settings.options} ${task.ext.args ?: ''}
    touch ${method.method}.embedding.csv ${method.method}.embedding.json
    printf '"%s":\\n    lloki: stub\\n' '${task.process}' > versions.yml
    """
}
