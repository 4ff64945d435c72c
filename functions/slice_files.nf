/*
 * Of what an instrument wrote, the few files that are read: images of 100 GB beside them are never staged. Which form they
 * have, and whether they are whole, is for bin/lloki/slices/detect.py.
 */

/** Names of the files that are read, by form. */
def read_names() {
    return [
        xenium: /cell_feature_matrix(\.h5)?|cells\.(csv|csv\.gz|parquet)|experiment\.xenium/,
        cosmx: /.*(exprMat|metadata|fov_positions)_file\.csv(\.gz)?/,
        merscope: /.*cell_(by_gene|metadata)\.csv(\.gz)?/,
        tables: /(counts|coordinates)\.(csv|tsv|txt)(\.gz)?/,
    ]
}

/** Names by which a folder is known to hold a slice. */
def telling_names() {
    return /cell_feature_matrix(\.h5)?|experiment\.xenium|.*exprMat_file\.csv(\.gz)?|.*cell_by_gene\.csv(\.gz)?|counts\.(csv|tsv|txt)(\.gz)?/
}

/**
 * What to stage of a slice: `files`; `folder`, whether they stand for a folder; `region`, a table that is left to name.
 * Or a `fault` with its `remedy`.
 */
def slice_files(path, String region) {
    if (!path.isDirectory()) {
        return region ? [fault: 'given, while input is a file', remedy: 'leave it empty'] : [files: [path], folder: false]
    }
    def tables = path.resolve('tables')
    def bare = tables.isDirectory() && tables.listFiles().any { one -> store_markers(one) } // a SpatialData that lost its root
    def markers = store_markers(path)
    if (markers || bare) {
        return tables.exists() ? [files: markers + [tables], folder: true, region: region] : [files: [path], folder: false, region: region]
    }
    def inside = region ? path.resolve(region) : path
    if (!inside.isDirectory()) {
        return [fault: "there is no folder '${region}' in it", remedy: "it has ${folders(path).join(', ') ?: 'none'}"]
    }
    if (!tells(inside)) {
        def regions = folders(inside).findAll { name -> tells(inside.resolve(name)) }
        if (regions.size() > 1) {
            return [fault: "empty, while input is a run of ${regions.size()} regions", remedy: "name one of ${regions.join(', ')}"]
        }
        if (!regions) {
            return [fault: 'the folder holds no slice of a form that is known', remedy: 'see docs/usage.md for what is read']
        }
        inside = inside.resolve(regions[0])
    }
    return [files: known_files(inside), folder: true]
}

/** What marks a folder as a zarr group. */
def store_markers(path) {
    return ['zarr.json', '.zgroup', '.zattrs', '.zmetadata'].collect { name -> path.resolve(name) }.findAll { one -> one.exists() }
}

/** The files of a folder that are read; of a thing that is there in two forms, the one that is read. */
def known_files(folder) {
    def names = read_names().values()
    def found = folder.listFiles().findAll { one -> names.any { known -> one.name ==~ known } }
    def other = [cell_feature_matrix: 'cell_feature_matrix.h5', 'cells.parquet': 'cells.csv.gz', 'cells.csv': 'cells.csv.gz']
    return found.findAll { one -> !(other[one.name] in found*.name) }.sort { one -> one.name }
}

def folders(folder) {
    return folder.listFiles().findAll { one -> one.isDirectory() }*.name.sort()
}

def tells(folder) {
    return folder.listFiles().any { one -> one.name ==~ telling_names() }
}
