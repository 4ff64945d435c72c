/*
 * The samplesheet: assets/schema_input.json says what a row holds; all its faults are told at once.
 */

include { fault_list ; given ; suggestion ; value_fault } from './parameters'
include { slice_files } from './slice_files'

/**
 * Rows of the samplesheet as [meta, input, coordinates, cells, reference]; input: the files that are read.
 *
 * A relative path is looked for beside the samplesheet, then in the folder of the launch.
 * former: names of slices that these are added to. Stops with every fault of every row, each with its line, column and
 * remedy.
 */
def read_samplesheet(sheet, default_reference, former = []) {
    def schema = new groovy.json.JsonSlurper().parse(file("${projectDir}/assets/schema_input.json").toFile()).items
    def (rows, faults) = sheet_rows(sheet, schema, default_reference)
    faults += rows.collectMany { row -> row_faults(row, schema, sheet, default_reference) }
    faults += repeated_samples(rows) + repeated_slices(rows) + untrained_batches(rows)
    faults += rows.findAll { row -> row.sample in former }.collect { row ->
        fault(row._line, 'sample', "'${row.sample}' is among the slices of --add_to", 'give only new slices, each a name of its own')
    }
    if (faults) {
        error(fault_list("samplesheet ${sheet}", faults.sort { fault -> fault[0] }.collect { fault -> fault[1] }))
    }
    return rows.collect { row ->
        def read = slice_files(resolve_path(row.input, sheet), row.region ?: null)
        def meta = ['technology', 'panel', 'organism', 'spatial_unit_um', 'format', 'fov', 'counts_layer', 'normalized', 'subject', 'align_group', 'z', 'embedding_model', 'train'].collectEntries { name -> [name, row[name] ?: null] }
        [
            [id: row.sample] + meta + [region: read.region, folder: read.folder],
            read.files,
            row.coordinates ? resolve_path(row.coordinates, sheet) : [],
            row.cells ? resolve_path(row.cells, sheet) : [],
            row.reference ? resolve_path(row.reference, sheet) : default_reference ? file(default_reference) : [],
        ]
    }
}

/** Rows as maps of column to text, with `_line`, and the faults of the header and of the rows' form. */
def sheet_rows(sheet, Map schema, default_reference) {
    def lines = sheet.getText('UTF-8').replace('\uFEFF', '').split(/\r\n|\n|\r/, -1).toList()
    def numbered = lines.withIndex().collect { line, index -> [index + 1, line] }.findAll { _number, line -> line.trim() }
    if (!numbered) {
        return [[], [fault(1, null, 'the file is empty', 'give a header and a row for each slice')]]
    }
    def header = csv_fields(numbered[0][1]) ?: []
    def other = header.size() == 1 ? [';': 'semicolons', '\t': 'tabs'].find { mark, _name -> header[0].contains(mark) } : null
    if (other) {
        return [[], [fault(numbered[0][0], null, "its columns are separated by ${other.value}", 'save it with commas between them')]]
    }
    def faults = header_faults(numbered[0][0], header, schema, default_reference)
    if (numbered.size() == 1) {
        faults << fault(numbered[0][0], null, 'no row follows the header', 'give a row for each slice')
    }
    def rows = []
    numbered.drop(1).each { number, line ->
        def fields = csv_fields(line)
        if (fields == null) {
            faults << fault(number, null, 'a quote is not closed', 'quote a whole field, and double a quote inside it')
        }
        else if (fields.size() != header.size()) {
            faults << fault(number, null, "${fields.size()} fields, the header has ${header.size()}", 'add or remove commas')
        }
        else {
            rows << [header, fields].transpose().collectEntries() + [_line: number]
        }
    }
    return [rows, faults]
}

/** Fields of a line of CSV, trimmed and without their quotes; null if a quote is out of place. */
def csv_fields(String line) {
    def matches = ("${line}," =~ /\s*("(?:[^"]|"")*"|[^",]*)\s*,/).collect { match -> match }
    if (matches.collect { match -> match[0] }.join() != "${line},".toString()) {
        return null
    }
    return matches.collect { match ->
        def field = match[1].trim()
        field.startsWith('"') ? field[1..-2].replace('""', '"').trim() : field
    }
}

def header_faults(int line, List header, Map schema, default_reference) {
    def known = schema.properties.keySet()
    def missing = schema.required.findAll { name -> !(name in header) }
    def faults = missing.collect { name -> fault(line, name, 'the column is missing', schema.properties[name].errorMessage) }
    faults += header.findAll { name -> !(name in known) }.collect { name ->
        fault(line, name ?: '(no name)', 'no such column', "the columns are ${known.join(', ')}${suggestion(name, known, '')}")
    }
    if (!('reference' in header) && !default_reference && !given().embedding_key) {
        faults << fault(line, 'reference', 'there is no such column and no --reference', 'name a reference for all slices with --reference')
    }
    faults += header.countBy { name -> name }.findAll { _name, count -> count > 1 }.collect { name, count ->
        fault(line, name, "the column is there ${count} times", 'keep one')
    }
    return faults
}

def row_faults(Map row, Map schema, sheet, default_reference) {
    def faults = schema.properties.findAll { name, _property -> row.containsKey(name) }.collectMany { name, property ->
        def value = row[name]
        if (!value) {
            return name in schema.required ? [fault(row._line, name, 'empty', property.errorMessage)] : []
        }
        def wrong = value_fault(property, value)
        if (wrong) {
            return [fault(row._line, name, "'${value}' is ${wrong}", property.errorMessage)]
        }
        if (property.exists && !path_exists(value, sheet)) {
            return [fault(row._line, name, "'${value}' does not exist", "give a path beside the samplesheet (${sheet.parent}), below the folder of the launch, or from /")]
        }
        return []
    }
    if (row.input && path_exists(row.input, sheet)) {
        def read = slice_files(resolve_path(row.input, sheet), row.region ?: null)
        if (read.fault) {
            faults << fault(row._line, read.fault.startsWith('the folder') ? 'input' : 'region', read.fault.toString(), read.remedy.toString())
        }
    }
    def is_table = row.input && row.input ==~ /.*\.(csv|tsv|txt)(\.gz)?/
    def is_matrix = row.input && row.input.endsWith('.h5')
    if (is_table && !row.coordinates) {
        faults << fault(row._line, 'coordinates', 'empty, while input is a table of counts', 'name the table of coordinates')
    }
    if (row.coordinates && !is_table && !is_matrix) {
        faults << fault(row._line, 'coordinates', 'given, while input is not a table of counts', 'leave it empty')
    }
    if (row.containsKey('reference') && !row.reference && !default_reference && !given().embedding_key) {
        faults << fault(row._line, 'reference', 'no reference for this slice', 'name one here, or for all slices with --reference')
    }
    return faults
}

def repeated_samples(List rows) {
    return rows.findAll { row -> row.sample }.groupBy { row -> row.sample }.collectMany { name, same ->
        same.drop(1).collect { row ->
            fault(row._line, 'sample', "'${name}' is the name of line ${same[0]._line} too", 'give each slice a name of its own')
        }
    }
}

/** The same cells twice: the same input, region and fields of view. */
def repeated_slices(List rows) {
    return rows.findAll { row -> row.input }.groupBy { row -> [row.input, row.region, row.fov, row.cells] }.values().collectMany { same ->
        same.drop(1).collect { row ->
            fault(row._line, 'input', "the same as of line ${same[0]._line}", 'name other regions, fov or cells, or leave one out')
        }
    }
}

/** A batch (technology and panel) of which no slice is trained on: its vector would be unknown. */
def untrained_batches(List rows) {
    return rows.groupBy { row -> [row.technology, row.panel] }.values().findAll { same -> same.every { row -> row.train == 'false' } }.collect { same ->
        fault(same[0]._line, 'train', "false in all slices of ${same[0].technology}", 'train on one of them at least')
    }
}

/** A fault as [line, text], the line to sort by. */
def fault(int line, column, String fact, String remedy) {
    return [line, "line ${line}${column ? ", column ${column}" : ''}: ${fact}; ${remedy}".toString()]
}

def resolve_path(String path, sheet) {
    def beside = path.contains('://') || path.startsWith('/') ? null : sheet.parent.resolve(path)
    return beside?.exists() ? beside : file(path)
}

def path_exists(String path, sheet) {
    return path.contains('://') || resolve_path(path, sheet).exists()
}
