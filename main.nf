#!/usr/bin/env nextflow
/*
 * nf-lloki: raw slices of different technologies and gene panels to one embedding and a report.
 */

include { baseline_faults ; compared } from './functions/baselines'
include { index_of ; published } from './functions/index'
include { check_parameters ; default_reference ; embedder ; given ; held_references ; help_text ; metagene_model ; model_folder ; niche_model ; parameters_json ; settings ; shared_settings } from './functions/parameters'
include { read_samplesheet } from './functions/samplesheet'
include { by_name ; by_sample ; closing_words ; distinct_references ; former_slices ; outdir_faults ; own_command ; pipeline_facts ; resume_words ; trained_on } from './functions/task'
include { INPUTS } from './subworkflows/inputs/main'
include { LLOKI_FP ; LLOKI_FP_WITHOUT_PARTS } from './subworkflows/lloki_fp/main'
include { TRAIN_CAE } from './modules/train_cae/main'
include { INFER_CAE } from './modules/infer_cae/main'
include { GATHER_MODEL } from './modules/gather_model/main'
include { FORMER_SLICE } from './modules/former_slice/main'
include { ALIGNMENT } from './subworkflows/alignment/main'
include { BENCHMARK_ALIGNMENT } from './modules/benchmark_alignment/main'
include { INTEGRATE } from './modules/integrate/main'
include { FINDINGS } from './subworkflows/findings/main'
include { COMPARE } from './subworkflows/compare/main'
include { BENCHMARK } from './modules/benchmark/main'
include { VIEWER_FILES } from './modules/viewer_files/main'
include { REPORT } from './modules/report/main'
include { RUN_RECORD } from './modules/run_record/main'

workflow LLOKI {
    take:
    samples // [meta, input, coordinates, cells, reference]
    former // [meta, lloki, slice] of the run to add to

    main:
    labels = (given().cell_type_key ?: '').tokenize(',')*.trim()
    methods = compared()
    // Every file read and checked against the others; with --check, that is all.
    INPUTS(samples, labels, methods)
    slices = INPUTS.out.slice
    references = INPUTS.out.reference

    // Each slice by itself: graph, target sparsity, propagation, denoising, embedding.
    LLOKI_FP(slices, references)
    fp = LLOKI_FP.out.fp

    // All slices together: one latent space, one frame of coordinates, one file.
    adapted = model_folder() ? model_folder().resolve('cae') : []
    mosaic = embedder() == 'mosaic' ? LLOKI_FP.out.model : []
    TRAIN_CAE(by_sample(trained_on(fp)), by_sample(trained_on(slices)), adapted, mosaic, settings('train_cae'))
    INFER_CAE(fp, TRAIN_CAE.out.model, settings('infer_cae'))
    // Slices of the run to add to join here, as they are.
    FORMER_SLICE(former, TRAIN_CAE.out.model, settings('former_slice'))
    lloki = INFER_CAE.out.lloki.mix(FORMER_SLICE.out.lloki)
    together = slices.mix(FORMER_SLICE.out.slice)
    ALIGNMENT(lloki)
    INTEGRATE(ALIGNMENT.out.lloki, by_sample(together), settings('integrate'))

    // What it shows: labels, clusters, domains, programs; the integrated file with all of that.
    FINDINGS(INTEGRATE.out.integrated, INTEGRATE.out.json, together, references, mosaic, labels)
    joined = FINDINGS.out.integrated

    // All that later slices need to be mapped into this embedding.
    GATHER_MODEL(
        TRAIN_CAE.out.model, mosaic, distinct_references(references, channel.fromList(held_references())),
        FINDINGS.out.metagenes.map { folder -> folder ?: metagene_model() ?: [] },
        FINDINGS.out.niches.map { folder -> folder ?: niche_model() ?: [] },
        settings('gather_model', ['--setting': shared_settings().collect { name, value -> "${name}=${value}".toString() }]),
    )

    // What else there is for these cells (--benchmark, --ablation), and how good it all is.
    LLOKI_FP_WITHOUT_PARTS(slices, references, LLOKI_FP.out.graph, LLOKI_FP.out.model, methods)
    embedded = [fp: fp.mix(FORMER_SLICE.out.lloki), slice: LLOKI_FP_WITHOUT_PARTS.out.slice, filled: LLOKI_FP_WITHOUT_PARTS.out.filled]
    models = [fp: LLOKI_FP.out.model, slice: LLOKI_FP_WITHOUT_PARTS.out.slice_model, filled: LLOKI_FP_WITHOUT_PARTS.out.filled_model]
    COMPARE(methods, together, embedded, models, distinct_references(references, channel.fromList(held_references())))
    BENCHMARK(
        INTEGRATE.out.integrated, COMPARE.out.embeddings, COMPARE.out.not_run,
        settings('benchmark', ['--label-key': labels.take(1), '--expected': methods*.method]),
    )

    alignment_scores = channel.value([])
    others = []
    if (given().benchmark_alignment) {
        BENCHMARK_ALIGNMENT(ALIGNMENT.out.lloki, by_sample(together), settings('benchmark_alignment', ['--label-key': labels.take(1)]))
        alignment_scores = BENCHMARK_ALIGNMENT.out.scores
        others = [BENCHMARK_ALIGNMENT.out]
    }

    // The same cells for the instruments' own viewers.
    viewer = []
    if (given().viewer_files) {
        VIEWER_FILES(joined, settings('viewer_files', ['--label-key': labels]))
        viewer = [VIEWER_FILES.out]
    }

    // What was done, in figures.
    done = others + viewer + [
        INPUTS.out, LLOKI_FP.out, TRAIN_CAE.out, INFER_CAE.out, FORMER_SLICE.out, GATHER_MODEL.out, ALIGNMENT.out,
        INTEGRATE.out, FINDINGS.out, COMPARE.out, BENCHMARK.out,
    ]
    records = by_name(done.inject(channel.empty()) { all, one -> all.mix(one.json) })
    versions = done.inject(channel.empty()) { all, one -> all.mix(one.versions) }.map { path -> path.text }
    parameters = channel.of(parameters_json()).collectFile(name: 'parameters.json')
    // What came out, and where it is.
    results = INPUTS.out.results.mix(
        LLOKI_FP.out.results, ALIGNMENT.out.results, FINDINGS.out.results, COMPARE.out.results,
        published(
            train_cae: TRAIN_CAE.out, infer_cae: INFER_CAE.out.json, gather_model: GATHER_MODEL.out,
            former_slice: [FORMER_SLICE.out.json, FORMER_SLICE.out.slice],
            integrate: [INTEGRATE.out.table, INTEGRATE.out.json], benchmark: BENCHMARK.out, benchmark_alignment: others,
            viewer_files: viewer,
        ),
    )
    REPORT(
        records, joined, BENCHMARK.out.metrics, BENCHMARK.out.coherence, BENCHMARK.out.embeddings,
        TRAIN_CAE.out.history, ALIGNMENT.out.transforms, alignment_scores, FINDINGS.out.metagenes,
        FINDINGS.out.tables, FINDINGS.out.niches,
        versions.unique().collectFile(name: 'software_versions.yml', sort: true), parameters,
        index_of(results, given().save_intermediates), settings('report', ['--label-key': labels.take(1), '--run-command': own_command()]),
    )
    results = results.mix(published(report: REPORT.out))
    versions = versions.mix(REPORT.out.versions.map { path -> path.text }).unique()
    main_results = joined.mix(INTEGRATE.out.table, BENCHMARK.out.metrics, ALIGNMENT.out.transforms, REPORT.out.html)
    RUN_RECORD(
        records, versions.collectFile(name: 'software_versions.yml', sort: true), parameters,
        by_name(main_results).filter { files -> files }, index_of(results, given().save_intermediates), file("${projectDir}/main.nf"),
        pipeline_facts(), settings('run_record'),
    )
}

workflow {
    if (given().help) {
        println(help_text(workflow.manifest.version))
        return
    }
    if (given().version) {
        println("nf-lloki ${workflow.manifest.version}")
        return
    }
    check_parameters(baseline_faults() + outdir_faults(given().overwrite))
    former = former_slices(given().add_to)
    rows = read_samplesheet(file(given().input), default_reference(), former*.first()*.id)
    words = resume_words(rows*.first()*.id, embedder())
    if (words) {
        println(words)
    }
    if (workflow.workDir.toUri().scheme == 'file') {
        println("Progress of long tasks: tail -F '${workflow.workDir}/progress.log'")
    }
    LLOKI(channel.fromList(rows), channel.fromList(former))

    workflow.onComplete = {
        println(closing_words(given().check))
    }
}
