include { FIT_MOSAIC } from '../../modules/fit_mosaic/main'
include { MOSAIC_EMBED } from '../../modules/mosaic_embed/main'
include { SCGPT_EMBED } from '../../modules/scgpt_embed/main'
include { stage } from '../../functions/parameters'
include { by_sample } from '../../functions/task'

/**
 * The embedders behind one contract: cells of a slice in, obsm['X_lloki_fp'] out.
 *
 * Another one is a script in bin, a process that emits `fp`, `json` and `versions`, and a line here.
 */
workflow EMBED {
    take:
    cells // [meta, denoised]
    references // [meta, reference]

    main:
    embedder = params.embedder != 'auto' ? params.embedder : params.scgpt_checkpoint ? 'scgpt' : 'mosaic'
    if (embedder == 'scgpt') {
        orthologs = file(params.orthologs ?: "${projectDir}/assets/orthologs.csv.gz")
        embedded = SCGPT_EMBED(cells, file(params.scgpt_checkpoint), orthologs, stage('scgpt_embed'))
    }
    else {
        embedded = MOSAIC(cells, references)
    }
    fp = embedded.fp
    json = embedded.json
    versions = embedded.versions

    emit:
    fp
    json
    versions
}

/** Every slice through one mosaic model: the one given, or one fitted to all slices and references. */
workflow MOSAIC {
    take:
    cells
    references

    main:
    if (params.mosaic_model) {
        model = channel.value(file(params.mosaic_model))
        json = channel.empty()
        versions = channel.empty()
    }
    else {
        distinct = references.map { _meta, reference -> reference }.unique().toSortedList()
        FIT_MOSAIC(by_sample(cells), distinct, stage('fit_mosaic'))
        model = FIT_MOSAIC.out.model
        json = FIT_MOSAIC.out.json
        versions = FIT_MOSAIC.out.versions
    }
    MOSAIC_EMBED(cells, model, stage('mosaic_embed'))
    fp = MOSAIC_EMBED.out.fp
    json = json.mix(MOSAIC_EMBED.out.json)
    versions = versions.mix(MOSAIC_EMBED.out.versions)

    emit:
    fp
    json
    versions
}
