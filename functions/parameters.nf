/*
 * Parameters: nextflow_schema.json is the one list of them; here they are read, checked, explained, and turned
 * into options of the scripts.
 *
 * This script includes none, as many include it: before Nextflow 25.10.4, the strict parser takes a script that includes
 * others from one place only.
 */

/**
 * The parameters of this run as their schema has them: truth values, numbers, text.
 *
 * Nextflow guesses the type of what stands on the command line, or leaves it as text, by its version and its parser; and
 * the text 'false' would pass for true. So no parameter but of text is read from `params` itself.
 */
def given() {
    def known = schema_properties()
    return params.collectEntries { name, value -> [name, typed(known[name]?.type, value)] }
}

/** A value as a type of the schema; one that does not fit comes back as it is, for check_parameters to refuse. */
def typed(type, value) {
    def text = value.toString()
    if (value == null || value instanceof Boolean) {
        return value
    }
    if (text.toLowerCase() in ['true', 'false']) {
        return text.toBoolean()
    }
    if (type == 'integer') {
        return text.isLong() ? text.toLong() : value
    }
    if (type == 'number') {
        return text.isNumber() ? text.toBigDecimal() : value
    }
    return type == 'string' ? text : value
}

/** Every parameter of the schema, by name and in its order. */
def schema_properties() {
    return schema_groups().collectEntries { group -> group.properties }
}

def schema_groups() {
    def schema = new groovy.json.JsonSlurper().parse(file("${projectDir}/nextflow_schema.json").toFile())
    return schema['$defs'].values()
}

/** Stop with every fault of the parameters at once; `more` are those that this script cannot see. */
def check_parameters(List more) {
    def faults = parameter_faults(given()) + more
    if (faults) {
        error(fault_list('the parameters', faults) + '\n`nextflow run . --help` lists the parameters')
    }
}

def parameter_faults(Map values) {
    def known = schema_properties()
    def required = schema_groups().collectMany { group -> group.required ?: [] }
    // An institution's profile sets parameters of other pipelines, too: with one, only what the user wrote is a fault.
    def unknown = values.keySet().findAll { name ->
        !known.containsKey(name) && (!values.custom_config_base || workflow.commandLine.contains("--${name}"))
    }
    def faults = unknown.collect { name -> "--${name}: no such parameter${suggestion(name, known.keySet(), '--')}" }
    known.each { name, property ->
        def value = values[name]
        def fault = value == null ? null : value_fault(property, value)
        if (fault) {
            faults << "--${name} ${value}: ${fault}${property.errorMessage ? "; ${property.errorMessage}" : ''}"
        }
        else if (value == null && name in required) {
            faults << "--${name}: missing; ${property.errorMessage ?: property.description}"
        }
        else if (value != null && property.exists && !file(value.toString()).exists()) {
            faults << "--${name} ${value}: no such file or folder; check the path"
        }
    }
    if (values.embedder == 'scgpt' && !model_folder() && !values.scgpt_checkpoint && !values.pretrain_scgpt) {
        faults << '--scgpt_checkpoint: missing; --embedder scgpt needs the folder of a checkpoint, or --pretrain_scgpt'
    }
    faults += model_faults(values)
    if (values.pretrain_scgpt && (values.scgpt_checkpoint || values.embedder == 'mosaic')) {
        def other = values.scgpt_checkpoint ? '--scgpt_checkpoint' : '--embedder mosaic'
        faults << "--pretrain_scgpt: given with ${other}; leave one out".toString()
    }
    if (values.reference_labels && !model_faults(values) && embedder() != 'mosaic') {
        def which = values.embedding_key ? '--embedding_key' : 'the embedder scgpt'
        faults << "--reference_labels: ${which} places no reference; leave it out, or give --embedder mosaic".toString()
    }
    if (values.embedding_key) {
        def others = ['scgpt_checkpoint', 'pretrain_scgpt', 'mosaic_model', 'ablation'].findAll { name -> values[name] } + (values.embedder != 'auto' ? ['embedder'] : [])
        faults += others.collect { name -> "--${name}: given with --embedding_key, which embeds nothing here; leave one out".toString() }
    }
    if ((values.niche || values.niche_model) && !values.cell_type_key && !values.reference_labels) {
        faults << '--niche: it needs kinds of cells; give --cell_type_key, or --reference_labels'
    }
    return faults
}

/** The folder of the model that slices are mapped onto (--model, or that of the results to add to); null for none. */
def model_folder() {
    def values = given()
    def folder = values.model ?: (values.add_to ? "${values.add_to}/model" : null)
    return folder ? file(folder.toString()) : null
}

/** model.json of that folder, as gather_model.py wrote it; null where it is none. */
def model_record() {
    def record = model_folder().resolve('model.json')
    def found = record.exists() ? new groovy.json.JsonSlurper().parse(record) : null
    return found instanceof Map && found.keySet().containsAll(['embedder', 'references', 'settings']) ? found : null
}

/** The reference of slices that name none: --reference, else the one that the model holds. */
def default_reference() {
    def held = model_folder() ? model_record().references : []
    return given().reference ?: (held.size() == 1 ? model_folder().resolve("references/${held[0]}").toString() : null)
}

/** The references that the model holds. */
def held_references() {
    return model_folder() ? model_record().references.collect { name -> model_folder().resolve("references/${name}") } : []
}

/** The metagenes that are laid on the cells: --metagene_model, or those that the model holds; null: they are fitted. */
def metagene_model() {
    def held = model_folder()?.resolve('metagenes.npz')
    return given().metagene_model ? file(given().metagene_model) : held?.exists() ? held : null
}

/** Whether there are labels to carry over, and they are wanted. */
def annotates() {
    return given().annotate && (given().cell_type_key || given().reference_labels)
}

/** The niche programs that are scored: --niche_model, or those that the model holds; null: none. */
def niche_model() {
    def held = model_folder()?.resolve('niches')
    return given().niche_model ? file(given().niche_model) : held?.exists() ? held : null
}

/** Parameters on which a slice's place in the embedding depends, as they hold: those of a model hold for mapped slices, too. */
def shared_settings() {
    def names = [
        'scaling', 'preset', 'neighbors', 'n_pcs', 'metric', 'sigma', 'reference_genes', 'max_iter', 'tolerance', 'thin', 'keep',
        'weights', 'alpha', 'diffuse', 'support', 'max_length', 'scgpt_ties', 'scgpt_sampling',
    ]
    def values = given()
    return schema_properties().subMap(names).collectEntries { name, property ->
        [name, (values[name] != null ? values[name] : property['default']).toString()]
    }
}

/** What does not go with a model to map slices onto. */
def model_faults(Map values) {
    if (values.model && values.add_to) {
        return ['--model: given with --add_to, which has a model; leave one out']
    }
    if (!model_folder()) {
        return []
    }
    def option = values.model ? "--model ${values.model}" : "--add_to ${values.add_to}"
    def record = model_record()
    if (!record) {
        return ["${option}: ${values.model ? 'no model.json in it; give results/model' : 'no model in it; give the results'} of a finished run".toString()]
    }
    def faults = ['pretrain_scgpt', 'mosaic_model', 'ablation', 'train_slices'].findAll { name -> values[name] }.collect { name ->
        "--${name}: given with ${option}, whose slices are not trained on again; leave it out"
    }
    if (values.embedder != 'auto' && values.embedder != record.embedder) {
        faults << "--embedder ${values.embedder}: the model's is ${record.embedder}; leave it out"
    }
    if ((record.embedder in ['mosaic', 'scgpt']) == (values.embedding_key as boolean)) {
        faults << (values.embedding_key ? "--embedding_key: the model's slices were embedded by ${record.embedder}; leave it out" : "--embedding_key: missing; the model's slices came with an embedding of ${record.embedder}")
    }
    if (record.embedder == 'scgpt' && !values.scgpt_checkpoint) {
        faults << '--scgpt_checkpoint: missing; give the one by which the model\'s slices were embedded'
    }
    faults += shared_settings().findAll { name, value -> record.settings[name] != null && record.settings[name] != value }.collect { name, value ->
        "--${name} ${value}: the model was made with ${record.settings[name]}; give --${name} ${record.settings[name]}"
    }
    return faults*.toString()
}

/** The embedder of this run: the one asked for or of the model, brought along, else scGPT where there is a checkpoint. */
def embedder() {
    def values = given()
    if (values.embedding_key) {
        return 'brought'
    }
    if (model_folder()) {
        return model_record().embedder
    }
    def has_scgpt = values.scgpt_checkpoint || values.pretrain_scgpt
    return values.embedder != 'auto' ? values.embedder : has_scgpt ? 'scgpt' : 'mosaic'
}

/** What is wrong with a value by its JSON schema (type, enum, pattern, limits); null if nothing is. */
def value_fault(Map property, value) {
    def text = value.toString()
    def number = text.isNumber() ? text.toBigDecimal() : null
    if (property.type == 'boolean') {
        return text in ['true', 'false'] ? null : 'not true or false'
    }
    if (value instanceof Boolean) {
        return property['enum'] ? "it needs a value, one of ${property['enum'].join(', ')}" : 'it needs a value'
    }
    if (property.type == 'integer' && !text.isInteger()) {
        return 'not a whole number'
    }
    if (property.type == 'number' && number == null) {
        return 'not a number'
    }
    if (property['enum'] && !(text in property['enum'])) {
        return "not one of ${property['enum'].join(', ')}${suggestion(text, property['enum'], '')}"
    }
    if (property.pattern && !(text =~ property.pattern).find()) {
        return 'not of the right form'
    }
    if (property.minimum != null && number < property.minimum) {
        return "less than ${property.minimum}"
    }
    if (property.exclusiveMinimum != null && number <= property.exclusiveMinimum) {
        return "not more than ${property.exclusiveMinimum}"
    }
    if (property.maximum != null && number > property.maximum) {
        return "more than ${property.maximum}"
    }
    return null
}

/** `; did you mean NAME?` for the known name that is nearest, or nothing when none is near. */
def suggestion(String word, known, String prefix) {
    def same = known.find { name -> bare(name) == bare(word) }
    def near = same ? [same] : known.toList().closest(word)
    return near ? "; did you mean ${prefix}${near.first()}?" : ''
}

def bare(String name) {
    return name.toLowerCase().replaceAll('[^a-z0-9]', '')
}

def fault_list(String where, List faults, String then = 'no task was started') {
    def count = faults.size() == 1 ? 'a fault' : "${faults.size()} faults"
    return "${count} in ${where}; ${then}\n" + faults.collect { fault -> "  ${fault}" }.join('\n')
}

/** All parameters as they hold in this run, defaults filled in, as JSON. */
def parameters_json() {
    def values = given()
    def all = schema_properties()
        .findAll { name, _property -> !(name in ['help', 'version']) }
        .collectEntries { name, property -> [name, values[name] != null ? values[name] : property['default']] }
    return groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(all)) + '\n'
}

/** The grouped help of all parameters that are not hidden. */
def help_text(String version) {
    def groups = schema_groups().collect { group ->
        def required = group.required ?: []
        def lines = group.properties
            .findAll { _name, property -> !property.hidden }
            .collect { name, property -> help_line(name, property, name in required) }
        return (["${group.title}"] + lines).join('\n')
    }
    return """\
nf-lloki ${version}: integrate spatial transcriptomics slices across technologies and gene panels

  nextflow run . --input samplesheet.csv --reference reference.h5ad --outdir results

${groups.join('\n\n')}
"""
}

def help_line(String name, Map property, boolean required) {
    def kind = property['enum'] ? property['enum'].join('|') : property.type
    def note = required ? ' [required]' : property['default'] == null ? '' : " [default: ${property['default']}]"
    return "  ${"--${name}".padRight(24)} ${property.description}${note} (${kind})"
}

/**
 * The two things about a script that its files do not say:
 *   options  the command-line options the user set; the rest is left to the script's defaults
 *   library  digest of bin/lloki, which the task's hash would not see otherwise
 *
 * nextflow_schema.json says, under "options", which parameter is which option of which script.
 */
def settings(String script, Map more = [:]) {
    def values = given()
    def options = schema_properties()
        .findAll { name, property -> property.options?.get(script) && values[name] != null }
        .collectEntries { name, property ->
            [property.options[script], property.separator ? values[name].tokenize(property.separator)*.trim() : values[name]]
        }
    return [options: command_line(options + more), library: library_digest()]
}

/** Options as the shell reads them: a list repeats its option, `--on/--off` takes a truth value. */
def command_line(Map options) {
    return options
        .collectMany { option, value -> (value instanceof List ? value : [value]).collect { one -> [option, one] } }
        .collect { option, value -> command_line_option(option.tokenize('/'), value) }
        .findAll { text -> text }
        .join(' ')
}

def command_line_option(List names, value) {
    if (value == null) {
        return ''
    }
    if (value.toString() in ['true', 'false']) {
        return value.toString() == 'true' ? names[0] : (names[1] ?: '')
    }
    return "${names[0]} ${quoted(value)}"
}

def quoted(value) {
    def text = value.toString()
    return text ==~ /[\w.,:@%+=\/-]+/ ? text : "'" + text.replace("'", "'\\''") + "'"
}

def library_digest() {
    return files("${projectDir}/bin/lloki/**")
        .findAll { path -> !path.toString().contains('__pycache__') }
        .sort { path -> path.toString() }
        .collect { path -> path.name + path.bytes.md5() }
        .join()
        .md5()
        .take(12)
}
