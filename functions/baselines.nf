/*
 * What LLOKI is compared with: bin/lloki/scores/baselines.csv is the one list of it.
 */

include { given ; suggestion } from './parameters'

/** Rows of the list for this run: with --benchmark other methods, all or those of --baselines, with --ablation LLOKI's own. */
def compared() {
    def wanted = given().benchmark ? asked() ?: known_methods().keySet() : []
    return wanted.collect { name -> known_methods()[name] } + (given().ablation ? ablations() : [])
}

/** What is wrong with --baselines. */
def baseline_faults() {
    def known = known_methods().keySet()
    return asked().findAll { name -> !(name in known) }.collect { name ->
        "--baselines ${name}: no such method; there are ${known.join(', ')}${suggestion(name, known, '')}".toString()
    }
}

/** The methods that --baselines names. */
def asked() {
    return (given().baselines ?: '').tokenize(',')*.trim().unique()
}

/** Other methods, by name: method, title, program, environment, embedding, options, source. */
def known_methods() {
    return listed_methods().findAll { row -> row.environment != 'ablation' }.collectEntries { row -> [row.method, row] }
}

/** LLOKI without one of its parts: an autoencoder trained with `options` on the embedding that is named. */
def ablations() {
    return listed_methods().findAll { row -> row.environment == 'ablation' }
}

def listed_methods() {
    return file("${projectDir}/bin/lloki/scores/baselines.csv").splitCsv(header: true, quote: '"')
}
