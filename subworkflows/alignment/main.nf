include { ALIGN_PLAN } from '../../modules/align_plan/main'
include { ALIGN_PAIRS } from '../../modules/align_pairs/main'
include { ALIGN } from '../../modules/align/main'
include { published } from '../../functions/index'
include { settings } from '../../functions/parameters'
include { by_name ; by_sample } from '../../functions/task'

/** Slices of each group in one frame: a plan of pairs, the pairs side by side, the frames. */
workflow ALIGNMENT {
    take:
    slices // [meta, lloki]

    main:
    ALIGN_PLAN(by_sample(slices), settings('align_plan'))
    // Each task has the slices of its own pairs alone.
    planned = ALIGN_PLAN.out.plan
        .splitCsv(header: true)
        .flatMap { row -> [[row.fixed, row.task as int], [row.moving, row.task as int]] }
        .unique()
    sides = planned
        .combine(slices.map { meta, lloki -> [meta.id, lloki] }, by: 0)
        .map { _sample, task, lloki -> [task, lloki] }
        .groupTuple(sort: { one, other -> one.name <=> other.name })
    ALIGN_PAIRS(sides.combine(ALIGN_PLAN.out.plan), settings('align_pairs'))
    ALIGN(by_sample(slices), by_name(ALIGN_PAIRS.out.pairs), settings('align'))
    lloki = ALIGN.out.lloki
    transforms = ALIGN.out.transforms
    done = [ALIGN_PLAN.out, ALIGN_PAIRS.out, ALIGN.out]
    json = done.inject(channel.empty()) { all, one -> all.mix(one.json) }
    versions = done.inject(channel.empty()) { all, one -> all.mix(one.versions) }
    results = published(align_plan: ALIGN_PLAN.out.json, align_pairs: ALIGN_PAIRS.out.json, align: ALIGN.out)

    emit:
    lloki
    transforms
    json
    versions
    results
}
