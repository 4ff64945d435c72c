#!/usr/bin/env nextflow
/*
 * nf-lloki: raw slices of different technologies and gene panels to one embedding and a report.
 */

include { compared } from './functions/baselines'
include { check_parameters ; help_text ; parameters_json ; settings } from './functions/parameters'
include { read_samplesheet } from './functions/samplesheet'
include { by_name ; by_sample ; closing_words ; pipeline_facts } from './functions/task'
include { PREPARE_SLICE } from './modules/prepare_slice/main'
include { BUILD_GRAPH } from './modules/build_graph/main'
include { OT_SPARSITY } from './modules/ot_sparsity/main'
include { IMPUTE ; DENOISE } from './modules/propagate/main'
include { BUILD_GRAPH as BUILD_GRAPH_IMPUTED } from './modules/build_graph/main'
include { EMBED } from './subworkflows/embed/main'
include { TRAIN_CAE } from './modules/train_cae/main'
include { INFER_CAE } from './modules/infer_cae/main'
include { ALIGN } from './modules/align/main'
include { BENCHMARK_ALIGNMENT } from './modules/benchmark_alignment/main'
include { INTEGRATE } from './modules/integrate/main'
include { COMPARE } from './subworkflows/compare/main'
include { BENCHMARK } from './modules/benchmark/main'
include { REPORT } from './modules/report/main'
include { RUN_RECORD } from './modules/run_record/main'

workflow LLOKI {
    take:
    samples // [meta, input, coordinates, reference]

    main:
    labels = params.cell_type_key ? params.cell_type_key.toString().tokenize(',')*.trim() : []
    references = samples.map { meta, _input, _coordinates, reference -> [meta, reference] }

    // Each slice by itself: graph, target sparsity, propagation, denoising, embedding.
    PREPARE_SLICE(
        samples.map { meta, input, coordinates, _reference -> [meta, input, coordinates] },
        settings('prepare_slice', ['--label-key': labels]),
    )
    slices = PREPARE_SLICE.out.slice
    BUILD_GRAPH(slices, settings('build_graph'))
    OT_SPARSITY(slices.join(references), settings('ot_sparsity'))
    IMPUTE(slices.join(BUILD_GRAPH.out.graph).join(OT_SPARSITY.out.targets), settings('impute'))
    BUILD_GRAPH_IMPUTED(IMPUTE.out.imputed, settings('build_graph'))
    DENOISE(slices.join(IMPUTE.out.imputed).join(BUILD_GRAPH_IMPUTED.out.graph), settings('denoise'))
    EMBED(DENOISE.out.denoised, references, slices, null)

    // All slices together: one latent space, one frame of coordinates, one file.
    adapted = params.cae_adapt_from ? file(params.cae_adapt_from) : []
    TRAIN_CAE(by_sample(EMBED.out.fp), by_sample(slices), adapted, settings('train_cae'))
    INFER_CAE(EMBED.out.fp, TRAIN_CAE.out.model, settings('infer_cae'))
    ALIGN(by_sample(INFER_CAE.out.lloki), settings('align'))
    INTEGRATE(ALIGN.out.lloki, by_sample(slices), settings('integrate'))

    // What else there is for these cells (--benchmark, --ablation), and how good it all is.
    COMPARE(slices, references, BUILD_GRAPH.out.graph, EMBED.out.fp, EMBED.out.model)
    BENCHMARK(
        INTEGRATE.out.integrated, COMPARE.out.embeddings, COMPARE.out.not_run,
        settings('benchmark', ['--label-key': labels.take(1), '--expected': compared()]),
    )

    alignment_scores = channel.value([])
    others = []
    if (params.benchmark_alignment) {
        BENCHMARK_ALIGNMENT(ALIGN.out.lloki, by_sample(slices), settings('benchmark_alignment', ['--label-key': labels.take(1)]))
        alignment_scores = BENCHMARK_ALIGNMENT.out.scores
        others = [BENCHMARK_ALIGNMENT.out]
    }

    // What was done, in figures.
    stages = others + [
        PREPARE_SLICE.out, BUILD_GRAPH.out, OT_SPARSITY.out, IMPUTE.out, BUILD_GRAPH_IMPUTED.out, DENOISE.out,
        EMBED.out, TRAIN_CAE.out, INFER_CAE.out, ALIGN.out, INTEGRATE.out, COMPARE.out, BENCHMARK.out,
    ]
    records = by_name(stages.inject(channel.empty()) { all, one -> all.mix(one.json) })
    versions = stages.inject(channel.empty()) { all, one -> all.mix(one.versions) }.map { path -> path.text }
    parameters = channel.of(parameters_json(params)).collectFile(name: 'parameters.json')
    REPORT(
        records, INTEGRATE.out.integrated, BENCHMARK.out.metrics, BENCHMARK.out.coherence, BENCHMARK.out.embeddings,
        TRAIN_CAE.out.history, ALIGN.out.transforms, ALIGN.out.landmarks, alignment_scores,
        versions.unique().collectFile(name: 'software_versions.yml', sort: true), parameters,
        file("${projectDir}/assets/multiqc_config.yml"), settings('report', ['--label-key': labels.take(1)]),
    )
    versions = versions.mix(REPORT.out.versions.map { path -> path.text }).unique()
    results = INTEGRATE.out.integrated.mix(INTEGRATE.out.table, BENCHMARK.out.metrics, ALIGN.out.transforms, REPORT.out.html)
    RUN_RECORD(
        records, versions.collectFile(name: 'software_versions.yml', sort: true), parameters,
        by_name(results), file("${projectDir}/main.nf"),
        pipeline_facts(), settings('run_record'),
    )
}

workflow {
    if (params.help) {
        println(help_text(workflow.manifest.version))
        return
    }
    if (params.version) {
        println("nf-lloki ${workflow.manifest.version}")
        return
    }
    check_parameters(params)
    LLOKI(channel.fromList(read_samplesheet(file(params.input), params.reference)))

    workflow.onComplete = {
        println(closing_words())
    }
}
