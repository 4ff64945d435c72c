include { BASELINE } from '../../modules/baseline/main'
include { BUILD_GRAPH } from '../../modules/build_graph/main'
include { CAE_VARIANT } from '../../modules/cae_variant/main'
include { EMBED } from '../embed/main'
include { EMBED as EMBED_FULL } from '../embed/main'
include { EXPORT_EMBEDDING } from '../../modules/export_embedding/main'
include { IMPUTE ; DENOISE } from '../../modules/propagate/main'
include { JOIN_SHARED } from '../../modules/join_shared/main'
include { OT_SPARSITY } from '../../modules/ot_sparsity/main'
include { ablations ; baselines } from '../../functions/baselines'
include { embedder ; settings } from '../../functions/parameters'
include { by_name ; by_sample } from '../../functions/task'

/**
 * What LLOKI is compared with: other methods on the same cells, and LLOKI without one of its parts.
 *
 * Another method is a program in bin and a line in bin/lloki/scores/baselines.csv. What did not run is
 * in the result all the same, with the reason.
 */
workflow COMPARE {
    take:
    slices // [meta, slice]
    references // [meta, reference]
    graphs // [meta, graph]
    fp // [meta, fp]: LLOKI-FP
    model // the embedder's

    main:
    chosen = baselines()
    programs = chosen.findAll { method -> method.program }
    raw = chosen.findAll { method -> method.method == embedder() }*.method
    variants = ablations()

    // Other methods, on the genes that all slices share.
    JOIN_SHARED(programs ? by_sample(slices) : channel.empty(), settings('join_shared'))
    BASELINE(channel.fromList(programs), JOIN_SHARED.out.shared.first(), settings('baseline'))

    // The embedder on slices as they came: by itself, and under the autoencoder.
    without_fp = raw || variants ? slices : channel.empty()
    trained_scgpt = embedder() == 'scgpt' ? model : null
    EMBED(without_fp, references, slices, trained_scgpt)
    EXPORT_EMBEDDING(
        by_sample(raw ? EMBED.out.fp : channel.empty()).map { files -> [embedder(), files] },
        settings('export_embedding', ['--key': 'X_lloki_fp']),
    )

    // Propagation that fills every gene, for want of a target.
    OT_SPARSITY((variants ? slices : channel.empty()).join(references), settings('ot_sparsity', ['--full': true]))
    IMPUTE(slices.join(graphs).join(OT_SPARSITY.out.targets), settings('impute'))
    BUILD_GRAPH(IMPUTE.out.imputed, settings('build_graph'))
    DENOISE(slices.join(IMPUTE.out.imputed).join(BUILD_GRAPH.out.graph), settings('denoise'))
    EMBED_FULL(DENOISE.out.denoised, references, slices, trained_scgpt)

    inputs = [no_fp: EMBED.out.fp, no_transport: EMBED_FULL.out.fp]
    trained = variants.inject(channel.empty()) { all, name, options ->
        all.mix(by_sample(inputs[name] ?: fp).map { files -> [name, options, files] })
    }
    CAE_VARIANT(trained, by_sample(slices), settings('train_cae'), settings('infer_cae'))

    results = [JOIN_SHARED.out, BASELINE.out, EXPORT_EMBEDDING.out, CAE_VARIANT.out]
    tables = results.drop(1).inject(channel.empty()) { all, one -> all.mix(one.embedding) }

    emit:
    embeddings = by_name(tables)
    not_run = by_name(BASELINE.out.not_run.mix(channel.fromList(absent(chosen)).collectFile()))
    json = results.inject(channel.empty()) { all, one -> all.mix(one.json) }
    versions = results.inject(channel.empty()) { all, one -> all.mix(one.versions) }
}

/** The other embedder than that of this run: a file that says so, as a method that cannot run writes one. */
def absent(chosen) {
    def others = chosen.findAll { method -> method.environment == 'embedder' && method.method != embedder() }*.method
    return others.collect { name -> ["${name}.not_run.txt", "the embedder of this run is ${embedder()}\n"] }
}
