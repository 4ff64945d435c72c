/*
 * The index of the results: which file of which stage, and of which slice, was published where.
 */

/** Entries of the index for the outputs of stages, as far as they are published: by stage, a channel or several. */
def published(Map stages) {
    return stages
        .collectMany { stage, outputs -> [outputs].flatten().collect { output -> output.flatMap { item -> entries(stage, item) } } }
        .inject { all, some -> all.mix(some) }
}

/** Entries for an item of a channel: a file, several, or one with what is known of its slice. */
def entries(String stage, item) {
    def names = [item].flatten().findAll { part -> !(part instanceof Map) }.collect { path -> path.name }
    return names.findAll { name -> is_published(name) }.collect { name -> entry(stage, name) }
}

/** An entry: slice (none: of all slices), stage, address of the file. */
def entry(String stage, String name) {
    def slice = is_of_a_slice(stage, name) ? name.tokenize('.')[0] : null
    def folder = file(params.outdir).toUriString().replaceAll('/+$', '')
    return [slice: slice, stage: stage, file: "${folder}/${place(stage, slice, name)}".toString()]
}

// What follows says of files what conf/modules.config does with them.

def is_published(String name) {
    return !(name in ['versions.yml', 'inputs.txt', 'history.csv', 'shared', 'cae', 'mosaic'] || name.endsWith('.embedding.csv') || name.endsWith('.cells.h5ad'))
}

/** Files of a slice begin with its name. */
def is_of_a_slice(String stage, String name) {
    def stages = ['prepare_slice', 'build_graph', 'ot_sparsity', 'impute', 'denoise', 'scgpt_embed', 'mosaic_embed', 'take_embedding', 'infer_cae', 'former_slice']
    return stage in stages || name.endsWith('.lloki.h5ad')
}

/** Files that only --save_intermediates publishes. */
def is_intermediate(String name) {
    return ['.graph.npz', '.imputed.h5ad', '.fp.h5ad'].any { ending -> name.endsWith(ending) }
}

/** Where a file lies below the folder of the results. */
def place(String stage, slice, String name) {
    if (slice) {
        return "slices/${slice}/${name}"
    }
    if (name == 'main.nf') {
        return "pipeline_info/${name}"
    }
    if (name.endsWith('.json') && !(name in ['run.json', 'ro-crate-metadata.json', 'lloki_mqc.json'])) {
        return "pipeline_info/stages/${name}"
    }
    if (name.endsWith('.png') || name.endsWith('.pdf')) {
        return "figures/${name}"
    }
    if (stage in ['annotate', 'cluster', 'domains']) {
        return "annotation/${name}"
    }
    return name in ['coherence.csv', 'embeddings.h5ad'] || name.endsWith('.not_run.txt') ? "benchmark/${name}" : name
}

/** The index as a file, in an order that a rerun has too; with those of the record that it is written with. */
def index_of(found, intermediates) {
    def own = ['run.json', 'ro-crate-metadata.json', 'software_versions.yml', 'main.nf'].collect { name -> entry('run_record', name) }
    return found
        .filter { one -> intermediates || !is_intermediate(one.file) }
        .toSortedList { one, other -> one.file <=> other.file }
        .map { rows -> groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(rows + own)) + '\n' }
        .collectFile(name: 'index.json')
}
