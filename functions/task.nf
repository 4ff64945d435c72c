/*
 * What a process puts around its command line, and the channels it takes.
 */

/** The first line of every task: which library it runs, one thread a core, a home to write caches to. */
def prologue(int cpus, Map settings) {
    def threads = ['OMP', 'OPENBLAS', 'MKL', 'NUMBA'].collect { library -> "${library}_NUM_THREADS=${cpus}" }
    // Threads that wait must sleep: on shared cores, spinning ones slow each other down many times over.
    threads << 'OMP_WAIT_POLICY=PASSIVE'
    return "export LLOKI_LIBRARY=${settings.library} ${threads.join(' ')}; [ -w \"\${HOME:-}\" ] || export HOME=\$PWD"
}

/**
 * Memory of a task on slices: 50 times their files, beside what it takes to start. Stages that see all slices hold one
 * at a time, or their embeddings alone: 10 times, or once.
 *
 * Measured (benchmarks/propagation.py, docs/performance.md): the stages of a slice peak at 0.9 GB for 50,000 cells × 1,000
 * genes (an h5ad of 22 MB), at 1.8 for 200,000 × 500 (49 MB) and at 4.1 for 50,000 × 6,175 (131 MB): 31 to 39 times the
 * file. The scores of 11,933 cells peak at 1.9 GB, of 50,000 at 2.8; training on a million cells at 1.8, with its
 * slices' expression on top.
 */
def memory_for(files, gigabytes = 2, times = 50) {
    // Tables are read in parts: of a tenth of their bytes, since most of a dense table is zeros.
    def bytes = [files].flatten().collect { path -> size_of(path).intdiv(path.name ==~ /.*\.(csv|tsv|txt)/ ? 10 : 1) }.sum(0L) as long
    return new nextflow.util.MemoryUnit((gigabytes * (1L << 30) as long) + times * bytes)
}

/** Bytes of a file, or of all files of a folder, such as a zarr store. */
def size_of(path) {
    return path.isDirectory() ? path.listFiles().collect { one -> size_of(one) }.sum(0L) as long : path.size() as long
}

/** Without containers: puts a baseline's own virtual environment on the PATH, where there is one. */
def add_environment(String name) {
    if (workflow.containerEngine) {
        return ''
    }
    def folder = params.baseline_environments ?: "${projectDir}/.venv/share/baselines"
    return "export PATH=\"${folder}/${name}/bin:\$PATH\""
}

/** One `--option FILE` for each file. */
def repeated(String option, files) {
    return (files instanceof List ? files : [files]).collect { path -> "${option} ${path}" }.join(' ')
}

/** Files of a channel of [meta, file], gathered in the order of the samples' names; nothing for none. */
def by_sample(slices) {
    return slices
        .toSortedList { one, other -> one[0].id <=> other[0].id }
        .filter { rows -> rows }
        .map { rows -> rows.collect { row -> row[1] } }
}

/** The references of a channel of [meta, reference], and those of a channel that a model holds, each once and sorted. */
def distinct_references(references, held) {
    return references.map { _meta, reference -> reference }.mix(held).unique().toSortedList()
}

/** SAMPLE=N for each of [meta, reference]: which of the distinct references, from 1 on, a slice has. */
def numbered(references, distinct) {
    return references
        .map { meta, reference -> [meta.id, reference] }
        .toSortedList { one, other -> one[0] <=> other[0] }
        .map { pairs -> [pairs] }
        .combine(distinct.map { all -> [all] })
        .map { pairs, all -> pairs.collect { id, reference -> "${id}=${all.indexOf(reference) + 1}".toString() } }
        .first()
}

/** Of [meta, file], those of slices that the samplesheet does not leave out of the training. */
def trained_on(slices) {
    return slices.filter { meta, _file -> meta.train != 'false' }
}

/** Slices of the results that new ones are added to, as [meta, lloki, slice]; none without --add_to. */
def former_slices(add_to) {
    def embedded = add_to ? files("${add_to}/slices/*/*.lloki.h5ad") : []
    return embedded.sort { path -> path.name }.collect { path ->
        def sample = path.name - '.lloki.h5ad'
        [[id: sample], path, path.resolveSibling("${sample}.slice.h5ad")]
    }
}

/** Files of a channel, gathered in the order of their names, so that a rerun sees the same list. */
def by_name(files) {
    return files.toSortedList { one, other -> one.name <=> other.name }
}

/** The faults that CHECK_INPUTS found: lines; of a stub's empty record, none. */
def told_faults(record) {
    return record.size() > 0 ? new groovy.json.JsonSlurper().parse(record.toFile()).faults : []
}

/** Whether metagenes are found: as asked, else of as many cells as tell something and take minutes (lloki/slices/cost.py). */
def finds_metagenes(asked, record) {
    if (asked != null || record.size() == 0) {
        return asked != false
    }
    def cells = new groovy.json.JsonSlurper().parse(record.toFile()).cells
    return cells >= 500 && cells <= 200000
}

/** The command that takes this run up again: the same for a run and its resumption. */
def own_command() {
    def given = workflow.commandLine.replaceAll(/ -resume( [0-9a-f-]{36})?(?= |$)/, '').replaceAll(/ --overwrite( true)?(?= |$)/, '')
    return "${given} -resume ${workflow.sessionId}".toString()
}

/** What run.json says of the pipeline itself: nothing that differs between a run and its resumption. */
def pipeline_facts() {
    return [
        "name=${workflow.manifest.name}",
        "version=${workflow.manifest.version}",
        "revision=${workflow.commitId ?: 'unknown'}",
        "nextflow=${nextflow.version}",
        "profile=${workflow.profile}",
        "container_engine=${workflow.containerEngine ?: 'none'}",
        "session=${workflow.sessionId}", // the same in a run and its resumption
    ]*.toString()
}

/** What is wrong with --outdir: it holds the results of another run, which this one would mix with its own. */
def outdir_faults(overwrite) {
    if (params.add_to && file(params.outdir).toUriString() == file(params.add_to).toUriString()) {
        return ["--outdir ${params.outdir}: it is the folder of --add_to, which is read; name another".toString()]
    }
    def record = file(params.outdir).resolve('run.json')
    if (overwrite || !record.exists()) {
        return []
    }
    def session = record.text =~ /"session": "([^"]+)"/
    def known = session.find() ? session.group(1) : ''
    if (workflow.resume && known == workflow.sessionId.toString()) {
        return []
    }
    // -resume alone takes up the last run in the folder of the launch, and this refused one is that.
    return ["--outdir ${params.outdir}: it holds the results of another run; name another folder, take that run up with -resume ${known}, or --overwrite".toString()]
}

/** With -resume, when the samplesheet has other slices than the run that is taken up: what is computed again, and why. */
def resume_words(List samples, String embedder) {
    def index = file(params.outdir).resolve('index.json')
    def former = workflow.resume && index.exists() ? new groovy.json.JsonSlurper().parse(index)*.slice.findAll { name -> name }.unique() : []
    def (added, gone) = [samples - former, former - samples]
    if (!former || !(added || gone)) {
        return ''
    }
    def changes = [added ? "new are ${added.join(', ')}" : null, gone ? "gone are ${gone.join(', ')}" : null].findAll { text -> text }
    def what = embedder == 'mosaic' ? 'the mosaic model, and with it all embeddings, the autoencoder' : 'the autoencoder'
    def kept = added && !gone ? "\nTo keep the embedding of the former slices as it is: --add_to ${params.outdir} with the new ones alone, into another folder" : ''
    return "Of the slices ${changes.join('; ')}. Computed again is what sees all slices: ${what}, alignment and results.${kept}"
}

/** Where the results are; or, after a fault in the input, the line that says what to mend. */
def closing_words(checked_only) {
    def folder = file(params.outdir)
    if (workflow.success && checked_only) {
        return "\nThe inputs can be used. To go on: the same command without --check, with -resume\nTable  ${folder}/inputs.csv"
    }
    if (workflow.success) {
        return "\nReport             ${folder}/report.html\nIntegrated slices  ${folder}/integrated.h5ad"
    }
    def message = workflow.errorMessage ?: workflow.errorReport ?: ''
    if (message.contains('requirement exceeds available')) {
        return "\n${message}\nTasks can be kept smaller: --max_cpus 2 --max_memory 8.GB"
    }
    return workflow.exitStatus == 2 ? "\nFaulty input: ${message.readLines().last()}" : ''
}
