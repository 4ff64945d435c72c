include { FIT_MOSAIC } from '../../modules/fit_mosaic/main'
include { MOSAIC_EMBED } from '../../modules/mosaic_embed/main'
include { PRETRAIN_SCGPT } from '../../modules/pretrain_scgpt/main'
include { SCGPT_EMBED } from '../../modules/scgpt_embed/main'
include { published } from '../../functions/index'
include { embedder ; given ; model_folder ; settings } from '../../functions/parameters'
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
    slices // [meta, slice], as prepared
    trained // an scGPT that is trained already (a channel), or null

    main:
    if (embedder() == 'scgpt') {
        embedded = SCGPT(cells, references, slices, trained)
    }
    else {
        embedded = MOSAIC(cells, references)
    }
    fp = embedded.fp
    model = embedded.model
    json = embedded.json
    versions = embedded.versions
    results = embedded.results

    emit:
    fp
    model
    json
    versions
    results
}

/** Every slice through one scGPT: the checkpoint given, or one trained on all slices and references. */
workflow SCGPT {
    take:
    cells
    references
    slices
    trained

    main:
    orthologs = file(given().orthologs ?: "${projectDir}/assets/orthologs.csv.gz")
    json = channel.empty()
    versions = channel.empty()
    results = channel.empty()
    if (trained) {
        model = trained
    }
    else if (given().pretrain_scgpt) {
        distinct = references.map { _meta, reference -> reference }.unique().toSortedList()
        mosaic = given().mosaic_model ? file(given().mosaic_model) : []
        PRETRAIN_SCGPT(by_sample(slices), distinct, mosaic, orthologs, settings('pretrain_scgpt'))
        model = PRETRAIN_SCGPT.out.checkpoint
        json = PRETRAIN_SCGPT.out.json
        versions = PRETRAIN_SCGPT.out.versions
        results = published(pretrain_scgpt: PRETRAIN_SCGPT.out)
    }
    else {
        model = channel.value(file(given().scgpt_checkpoint))
    }
    SCGPT_EMBED(cells, model, orthologs, settings('scgpt_embed'))
    fp = SCGPT_EMBED.out.fp
    json = json.mix(SCGPT_EMBED.out.json)
    versions = versions.mix(SCGPT_EMBED.out.versions)
    results = results.mix(published(scgpt_embed: SCGPT_EMBED.out))

    emit:
    fp
    model
    json
    versions
    results
}

/** Every slice through one mosaic model: the one given, or one fitted to all slices and references. */
workflow MOSAIC {
    take:
    cells
    references

    main:
    json = channel.empty()
    versions = channel.empty()
    results = channel.empty()
    fitted = model_folder() ? model_folder().resolve('mosaic') : given().mosaic_model ? file(given().mosaic_model) : null
    if (fitted) {
        model = channel.value(fitted)
    }
    else {
        distinct = references.map { _meta, reference -> reference }.unique().toSortedList()
        FIT_MOSAIC(by_sample(cells), distinct, settings('fit_mosaic'))
        model = FIT_MOSAIC.out.model
        json = FIT_MOSAIC.out.json
        versions = FIT_MOSAIC.out.versions
        results = published(fit_mosaic: FIT_MOSAIC.out)
    }
    MOSAIC_EMBED(cells, model, settings('mosaic_embed'))
    fp = MOSAIC_EMBED.out.fp
    json = json.mix(MOSAIC_EMBED.out.json)
    versions = versions.mix(MOSAIC_EMBED.out.versions)
    results = results.mix(published(mosaic_embed: MOSAIC_EMBED.out))

    emit:
    fp
    model
    json
    versions
    results
}
