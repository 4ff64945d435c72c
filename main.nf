#!/usr/bin/env nextflow
/*
 * nf-lloki: raw slices of different technologies and gene panels to one embedding and a report.
 */

include { baseline_faults ; compared } from './functions/baselines'
include { index_of ; published } from './functions/index'
include { annotates ; check_parameters ; default_reference ; embedder ; given ; held_references ; help_text ; metagene_model ; model_folder ; niche_model ; parameters_json ; settings ; shared_settings } from './functions/parameters'
include { read_samplesheet } from './functions/samplesheet'
include { by_name ; by_sample ; closing_words ; distinct_references ; finds_metagenes ; former_slices ; numbered ; outdir_faults ; pipeline_facts ; resume_words ; trained_on } from './functions/task'
include { INPUTS } from './subworkflows/inputs/main'
include { LLOKI_FP ; LLOKI_FP_WITHOUT_PARTS } from './subworkflows/lloki_fp/main'
include { TRAIN_CAE } from './modules/train_cae/main'
include { INFER_CAE } from './modules/infer_cae/main'
include { GATHER_MODEL } from './modules/gather_model/main'
include { FORMER_SLICE } from './modules/former_slice/main'
include { ALIGNMENT } from './subworkflows/alignment/main'
include { BENCHMARK_ALIGNMENT } from './modules/benchmark_alignment/main'
include { INTEGRATE } from './modules/integrate/main'
include { ANNOTATE } from './modules/annotate/main'
include { METAGENES } from './modules/metagenes/main'
include { NICHE_PROGRAM } from './modules/niche_program/main'
include { CLUSTER } from './modules/cluster/main'
include { DOMAINS } from './modules/domains/main'
include { COMPLETE } from './modules/complete/main'
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
    TRAIN_CAE(by_sample(trained_on(fp)), by_sample(trained_on(slices)), adapted, settings('train_cae'))
    INFER_CAE(fp, TRAIN_CAE.out.model, settings('infer_cae'))
    // Slices of the run to add to join here, as they are.
    FORMER_SLICE(former, TRAIN_CAE.out.model, settings('former_slice'))
    lloki = INFER_CAE.out.lloki.mix(FORMER_SLICE.out.lloki)
    together = slices.mix(FORMER_SLICE.out.slice)
    ALIGNMENT(lloki)
    INTEGRATE(ALIGNMENT.out.lloki, by_sample(together), settings('integrate'))
    integrated = INTEGRATE.out.integrated

    found = channel.empty()
    // Programs that the cells of all slices share.
    programs = []
    fitted = metagene_model() ?: []
    metagenes = channel.value([])
    if (given().metagenes != false) {
        sets = given().metagene_gene_sets ? file(given().metagene_gene_sets) : []
        few = integrated.combine(INTEGRATE.out.json).filter { _file, record -> finds_metagenes(given().metagenes, record) }.map { row -> row[0] }
        METAGENES(few, by_sample(together), sets, fitted, settings('metagenes', ['--label-key': labels.take(1)]))
        metagenes = METAGENES.out.metagenes.ifEmpty([])
        found = found.mix(METAGENES.out.cells)
        programs = [METAGENES.out]
    }

    // What the cells are: labels of references and labelled slices for all, kinds and their genes, domains of the tissue.
    carried = []
    if (annotates()) {
        by_reference = given().reference_labels
        sources = distinct_references(references, channel.empty()) // those that a model holds have no labels
        ANNOTATE(
            integrated, by_reference ? by_sample(together) : channel.value([]), by_reference ? sources : channel.value([]),
            by_reference ? LLOKI_FP.out.model : [], given().label_map ? file(given().label_map) : [],
            given().label_hierarchy ? file(given().label_hierarchy) : [], by_reference ? numbered(references, sources) : channel.value([]),
            settings('annotate', ['--label-key': labels.take(1)]),
        )
        carried << ANNOTATE.out
    }
    named = carried ? ANNOTATE.out.cells : channel.value([])
    kinds = []
    if (given().cluster) {
        CLUSTER(integrated, by_sample(together), named, settings('cluster', ['--label-key': labels.take(1)]))
        kinds << CLUSTER.out
    }
    domains = []
    if (given().domains) {
        DOMAINS(integrated, named, settings('domains', ['--label-key': labels.take(1)]))
        domains << DOMAINS.out
    }
    annotation = carried + kinds + domains

    // Programs of one kind of cell near another, by the labels that all cells have got, or their own.
    niches = channel.value([])
    near = []
    if (given().niche || given().niche_model) {
        labelled = by_name((carried + domains).inject(channel.empty()) { all, one -> all.mix(one.cells) })
        own = carried ? [:] : ['--label-key': labels.take(1)]
        NICHE_PROGRAM(integrated, by_sample(together), labelled, niche_model() ?: [], settings('niche_program', own))
        niches = NICHE_PROGRAM.out.niches
        near << NICHE_PROGRAM.out
    }
    tables = annotation.inject(channel.empty()) { all, one -> all.mix(one.tables) }.flatten()
    found = (annotation + near).inject(found) { all, one -> all.mix(one.cells) }

    // The integrated file, with all that was found of its cells.
    COMPLETE(integrated, by_name(found), settings('complete'))
    joined = COMPLETE.out.integrated

    // All that later slices need to be mapped into this embedding.
    GATHER_MODEL(
        TRAIN_CAE.out.model, embedder() == 'mosaic' ? LLOKI_FP.out.model : [],
        distinct_references(references, channel.fromList(held_references())),
        metagenes.map { folder -> folder ?: fitted }, niches.map { folder -> folder ?: niche_model() ?: [] },
        settings('gather_model', ['--setting': shared_settings().collect { name, value -> "${name}=${value}".toString() }]),
    )

    // What else there is for these cells (--benchmark, --ablation), and how good it all is.
    LLOKI_FP_WITHOUT_PARTS(slices, references, LLOKI_FP.out.graph, LLOKI_FP.out.model, methods)
    embedded = [fp: fp.mix(FORMER_SLICE.out.lloki), slice: LLOKI_FP_WITHOUT_PARTS.out.slice, filled: LLOKI_FP_WITHOUT_PARTS.out.filled]
    COMPARE(methods, together, embedded, distinct_references(references, channel.fromList(held_references())))
    BENCHMARK(
        integrated, COMPARE.out.embeddings, COMPARE.out.not_run,
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
    done = others + viewer + programs + annotation + near + [
        INPUTS.out, LLOKI_FP.out, TRAIN_CAE.out, INFER_CAE.out, FORMER_SLICE.out, GATHER_MODEL.out, ALIGNMENT.out,
        INTEGRATE.out, COMPLETE.out, COMPARE.out, BENCHMARK.out,
    ]
    records = by_name(done.inject(channel.empty()) { all, one -> all.mix(one.json) })
    versions = done.inject(channel.empty()) { all, one -> all.mix(one.versions) }.map { path -> path.text }
    parameters = channel.of(parameters_json()).collectFile(name: 'parameters.json')
    REPORT(
        records, joined, BENCHMARK.out.metrics, BENCHMARK.out.coherence, BENCHMARK.out.embeddings,
        TRAIN_CAE.out.history, ALIGNMENT.out.transforms, ALIGNMENT.out.landmarks, alignment_scores, metagenes, by_name(tables), niches,
        versions.unique().collectFile(name: 'software_versions.yml', sort: true), parameters,
        file("${projectDir}/assets/multiqc_config.yml"), settings('report', ['--label-key': labels.take(1)]),
    )

    // What came out, and where it is.
    results = INPUTS.out.results.mix(
        LLOKI_FP.out.results, ALIGNMENT.out.results, COMPARE.out.results,
        published(
            train_cae: TRAIN_CAE.out, infer_cae: INFER_CAE.out.json, gather_model: GATHER_MODEL.out,
            former_slice: [FORMER_SLICE.out.json, FORMER_SLICE.out.slice],
            integrate: [INTEGRATE.out.table, INTEGRATE.out.json], complete: COMPLETE.out,
            annotate: carried, metagenes: programs, cluster: kinds, domains: domains, niche_program: near, benchmark: BENCHMARK.out, benchmark_alignment: others, viewer_files: viewer,
            report: REPORT.out,
        ),
    )
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
    LLOKI(channel.fromList(rows), channel.fromList(former))

    workflow.onComplete = {
        println(closing_words(given().check))
    }
}
