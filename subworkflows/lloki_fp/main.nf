include { BUILD_GRAPH ; BUILD_GRAPH as BUILD_GRAPH_IMPUTED } from '../../modules/build_graph/main'
include { EMBED } from '../embed/main'
include { TAKE_EMBEDDING } from '../../modules/take_embedding/main'
include { IMPUTE } from '../../modules/impute/main'
include { DENOISE } from '../../modules/denoise/main'
include { OT_SPARSITY } from '../../modules/ot_sparsity/main'
include { published } from '../../functions/index'
include { embedder ; settings } from '../../functions/parameters'

/** LLOKI-FP: each slice by itself, from the graph of its cells to their embedding; or the embedding that it brought. */
workflow LLOKI_FP {
    take:
    slices // [meta, slice]
    references // [meta, reference]

    main:
    graph = channel.empty()
    model = channel.empty()
    if (embedder() == 'brought') {
        TAKE_EMBEDDING(slices, settings('take_embedding'))
        fp = TAKE_EMBEDDING.out.fp
        json = TAKE_EMBEDDING.out.json
        versions = TAKE_EMBEDDING.out.versions
        results = published(take_embedding: TAKE_EMBEDDING.out)
    }
    else {
        BUILD_GRAPH(slices, settings('build_graph'))
        FILL(slices, references, BUILD_GRAPH.out.graph, null, [:])
        fp = FILL.out.fp
        graph = BUILD_GRAPH.out.graph
        model = FILL.out.model
        json = FILL.out.json.mix(BUILD_GRAPH.out.json)
        versions = FILL.out.versions.mix(BUILD_GRAPH.out.versions)
        results = FILL.out.results.mix(published(build_graph: BUILD_GRAPH.out))
    }

    emit:
    fp
    graph
    model
    json
    versions
    results
}

/** LLOKI-FP without one of its parts, as far as a method to compare with needs it. */
workflow LLOKI_FP_WITHOUT_PARTS {
    take:
    slices // [meta, slice]
    references // [meta, reference]
    graphs // [meta, graph]
    model // of the embedder, as LLOKI-FP has it
    methods // rows of bin/lloki/scores/baselines.csv

    main:
    needed = methods.findAll { method -> method.environment == 'ablation' || method.method == embedder() }*.embedding
    trained_scgpt = embedder() == 'scgpt' ? model : null
    // Without propagation: slices as they came.
    EMBED('slice' in needed ? slices : channel.empty(), references, slices, trained_scgpt)
    // Without targets: propagation fills every gene.
    FILL('filled' in needed ? slices : channel.empty(), references, graphs, trained_scgpt, ['--full': true])
    slice = EMBED.out.fp
    slice_model = EMBED.out.model
    filled = FILL.out.fp
    filled_model = FILL.out.model

    emit:
    slice
    slice_model
    filled
    filled_model
}

/** Targets, imputation up to them, a graph of what is then there, one step of denoising on it, embedding. */
workflow FILL {
    take:
    slices // [meta, slice]
    references // [meta, reference]
    graphs // [meta, graph]
    trained // an scGPT that is trained already (a channel), or null
    target_options // more options of ot_sparsity.py

    main:
    OT_SPARSITY(slices.join(references), settings('ot_sparsity', target_options))
    IMPUTE(slices.join(graphs).join(OT_SPARSITY.out.targets), settings('impute'))
    BUILD_GRAPH_IMPUTED(IMPUTE.out.imputed, settings('build_graph'))
    DENOISE(slices.join(IMPUTE.out.imputed).join(BUILD_GRAPH_IMPUTED.out.graph), settings('denoise'))
    EMBED(DENOISE.out.denoised, references, slices, trained)
    done = [OT_SPARSITY.out, IMPUTE.out, BUILD_GRAPH_IMPUTED.out, DENOISE.out, EMBED.out]
    fp = EMBED.out.fp
    model = EMBED.out.model
    json = done.inject(channel.empty()) { all, one -> all.mix(one.json) }
    versions = done.inject(channel.empty()) { all, one -> all.mix(one.versions) }
    results = EMBED.out.results.mix(
        published(ot_sparsity: OT_SPARSITY.out, impute: IMPUTE.out, build_graph: BUILD_GRAPH_IMPUTED.out, denoise: DENOISE.out)
    )

    emit:
    fp
    model
    json
    versions
    results
}
