include { BASELINE } from '../../modules/baseline/main'
include { CAE_VARIANT } from '../../modules/cae_variant/main'
include { EXPORT_EMBEDDING } from '../../modules/export_embedding/main'
include { JOIN_SHARED } from '../../modules/join_shared/main'
include { embedder ; settings } from '../../functions/parameters'
include { published } from '../../functions/index'
include { by_name ; by_sample } from '../../functions/task'

/**
 * What LLOKI is compared with: other methods on the same cells, and LLOKI without one of its parts.
 *
 * Another method is a program in bin and a line in bin/lloki/scores/baselines.csv. What did not run is
 * in the result all the same, with the reason.
 */
workflow COMPARE {
    take:
    methods // rows of bin/lloki/scores/baselines.csv
    slices // [meta, slice]
    embedded // by the names of the column `embedding`: [meta, fp]
    models // of the embedder, by the same names
    references // all of them, a list

    main:
    programs = methods.findAll { method -> method.program }
    mosaic = embedder() == 'mosaic' ? models : embedded.collectEntries { name, _fp -> [name, channel.value([])] }

    // Other methods, by their lines: on the genes that all slices share, an embedding, or whole panels and references.
    JOIN_SHARED(programs ? by_sample(slices) : channel.empty(), settings('join_shared'))
    on_genes = channel.fromList(programs.findAll { method -> !method.embedding }).map { method -> [method, [], [], []] }
    on_embedding = with_embedding(programs.findAll { method -> method.embedding in embedded.keySet() }, embedded, mosaic, channel.empty())
    on_panels = channel.fromList(programs.findAll { method -> method.embedding == 'reference' })
        .combine(by_sample(slices).map { files -> [files] })
        .combine(references.map { files -> [files] })
    BASELINE(
        on_genes.mix(on_embedding.map { method, fp, _model -> [method, fp, [], []] }, on_panels.map { method, parts, others -> [method, [], parts, others] }),
        JOIN_SHARED.out.shared, settings('baseline'),
    )

    // The embedder by itself.
    alone = with_embedding(methods.findAll { method -> method.method == embedder() }, embedded, mosaic, channel.empty())
    EXPORT_EMBEDDING(
        alone.map { method, fp, _model -> [method.method, fp] },
        settings('export_embedding', ['--key': 'X_lloki_fp']),
    )

    // The autoencoder with other options, or on another embedding.
    variants = with_embedding(methods.findAll { method -> method.environment == 'ablation' }, embedded, mosaic, channel.empty())
    CAE_VARIANT(
        variants.map { method, fp, model -> [method.method, method.options, fp, model] },
        by_sample(slices), settings('train_cae'), settings('infer_cae'),
    )

    done = [JOIN_SHARED.out, BASELINE.out, EXPORT_EMBEDDING.out, CAE_VARIANT.out]
    tables = done.drop(1).inject(channel.empty()) { all, one -> all.mix(one.embedding) }
    embeddings = by_name(tables)
    not_run = by_name(BASELINE.out.not_run.mix(channel.fromList(absent(methods)).collectFile()))
    json = done.inject(channel.empty()) { all, one -> all.mix(one.json) }
    versions = done.inject(channel.empty()) { all, one -> all.mix(one.versions) }
    results = published(
        join_shared: JOIN_SHARED.out, baseline: BASELINE.out, export_embedding: [EXPORT_EMBEDDING.out, CAE_VARIANT.out]
    )

    emit:
    embeddings
    not_run
    json
    versions
    results
}

/** [method, files, model] beside what is in `others`: each method with the embedding of all slices that the list gives it, and the mosaic model of that, if any. */
def with_embedding(methods, embedded, models, others) {
    def each = methods.collect { method ->
        by_sample(embedded[method.embedding]).map { slices -> [method, slices] }
            .combine(models[method.embedding].map { model -> [model] })
    }
    return each.inject(others) { all, one -> all.mix(one) }
}

/** The other embedder than that of this run: a file that says so, as a method that cannot run writes one. */
def absent(methods) {
    def others = methods.findAll { method -> method.environment == 'embedder' && method.method != embedder() }*.method
    def own = embedder() == 'brought' ? 'the slices brought their embedding along' : "the embedder of this run is ${embedder()}"
    return others.collect { name -> ["${name}.not_run.txt", "${own}\n".toString()] }
}
