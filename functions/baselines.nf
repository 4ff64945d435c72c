/*
 * The methods that LLOKI is compared with: bin/lloki/scores/baselines.csv is the one list of them.
 */

include { fault_list ; suggestion } from './parameters'

/** With --benchmark, rows of the table that --baselines names, else all: method, title, program, environment. */
def baselines() {
    if (!params.benchmark) {
        return []
    }
    def known = file("${projectDir}/bin/lloki/scores/baselines.csv")
        .splitCsv(header: true, quote: '"')
        .findAll { row -> row.environment != 'ablation' }
        .collectEntries { row -> [row.method, row] }
    def asked = params.baselines ? params.baselines.toString().tokenize(',')*.trim().unique() : known.keySet().toList()
    def faults = asked.findAll { name -> !known.containsKey(name) }.collect { name ->
        "--baselines ${name}: no such method; there are ${known.keySet().join(', ')}${suggestion(name, known.keySet(), '')}"
    }
    if (faults) {
        error(fault_list('the parameters', faults))
    }
    return asked.collect { name -> known[name] }
}

/** With --ablation, runs of the autoencoder without one thing, and what they change in its options. */
def ablations() {
    def runs = [
        no_reconstruction: '--lambda-rec 0',
        no_triplets: '--lambda-trip 0',
        no_conservation: '--lambda-bc 0',
        no_fp: '',
        no_transport: '',
    ]
    return params.ablation ? runs : [:]
}

/** Names of all methods that must be in the result, be it with the reason why they did not run. */
def compared() {
    return baselines()*.method + ablations().keySet()
}
