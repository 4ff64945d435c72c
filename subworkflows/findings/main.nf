include { ANNOTATE } from '../../modules/annotate/main'
include { CLUSTER } from '../../modules/cluster/main'
include { COMPLETE } from '../../modules/complete/main'
include { DOMAINS } from '../../modules/domains/main'
include { METAGENES } from '../../modules/metagenes/main'
include { NICHE_PROGRAM } from '../../modules/niche_program/main'
include { annotates ; given ; metagene_model ; niche_model ; settings } from '../../functions/parameters'
include { published } from '../../functions/index'
include { by_name ; by_sample ; distinct_references ; finds_metagenes ; numbered } from '../../functions/task'

/**
 * What the embedding shows: labels, clusters, domains, metagenes, niche programs.
 *
 * Each stage reads the integrated file, and writes apart what it finds of the cells; COMPLETE adds all of it.
 */
workflow FINDINGS {
    take:
    integrated
    record // of INTEGRATE
    slices // [meta, slice]
    references // [meta, reference]
    mosaic // the mosaic model, or []
    labels // columns with labels

    main:
    expression = by_sample(slices)
    label_key = ['--label-key': labels.take(1)]

    // Labels of references and of labelled slices for every cell.
    carried = []
    if (annotates()) {
        by_reference = given().reference_labels
        sources = distinct_references(references, channel.empty()) // those that a model holds have no labels
        ANNOTATE(
            integrated, by_reference ? expression : channel.value([]), by_reference ? sources : channel.value([]),
            by_reference ? mosaic : [], given().label_map ? file(given().label_map) : [],
            given().label_hierarchy ? file(given().label_hierarchy) : [], by_reference ? numbered(references, sources) : channel.value([]),
            settings('annotate', label_key),
        )
        carried << ANNOTATE.out
    }
    named = carried ? ANNOTATE.out.cells : channel.value([])

    // Kinds of cells and the genes that mark them; domains of the tissue.
    kinds = []
    if (given().cluster) {
        CLUSTER(integrated, expression, named, settings('cluster', label_key))
        kinds << CLUSTER.out
    }
    domains = []
    if (given().domains) {
        DOMAINS(integrated, named, settings('domains', label_key))
        domains << DOMAINS.out
    }

    // Programs that the cells of all slices share.
    programs = []
    metagenes = channel.value([])
    if (given().metagenes != false) {
        sets = given().metagene_gene_sets ? file(given().metagene_gene_sets) : []
        few = integrated.combine(record).filter { _file, json -> finds_metagenes(given().metagenes, json) }.map { row -> row[0] }
        METAGENES(few, expression, sets, metagene_model() ?: [], settings('metagenes', label_key))
        metagenes = METAGENES.out.metagenes.ifEmpty([])
        programs << METAGENES.out
    }

    // Programs of one kind of cell near another, by their own labels, or those that were carried over.
    near = []
    niches = channel.value([])
    if (given().niche || given().niche_model) {
        labelled = by_name((carried + domains).inject(channel.empty()) { all, one -> all.mix(one.cells) })
        NICHE_PROGRAM(integrated, expression, labelled, niche_model() ?: [], settings('niche_program', label_key))
        niches = NICHE_PROGRAM.out.niches
        near << NICHE_PROGRAM.out
    }

    stages = carried + kinds + domains + programs + near
    COMPLETE(integrated, by_name(stages.inject(channel.empty()) { all, one -> all.mix(one.cells) }), settings('complete'))

    tables = by_name((carried + kinds + domains).inject(channel.empty()) { all, one -> all.mix(one.tables) }.flatten())
    json = stages.inject(COMPLETE.out.json) { all, one -> all.mix(one.json) }
    versions = stages.inject(COMPLETE.out.versions) { all, one -> all.mix(one.versions) }
    results = published(
        annotate: carried, cluster: kinds, domains: domains, metagenes: programs, niche_program: near, complete: COMPLETE.out
    )

    emit:
    integrated = COMPLETE.out.integrated
    tables
    metagenes
    niches
    json
    versions
    results
}
