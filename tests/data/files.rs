//! Files, splits and filters.

use super::setup::{complaint, fixture, fixture_json, ids, prepare, toy_model, write};
use crate::support::rows::{load, options};
use olive_config::canonical::{
    AsciiChar, AzureMlPlace, AzureMlResource, DataFiles, Era, Header, LoadDataset, ReaderOptions,
    ResourcePath, SampleBy, SkipRows, Strategy,
};
use olive_data as data;
use olive_data::files::SplitFiles;
use olive_data::{Rows, Value, python_text};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

fn rows(load: &LoadDataset) -> Rows {
    data::load_rows(load).unwrap_or_else(|e| panic!("{e}"))
}

/// Every row as Python would print it.
fn printed(rows: &Rows) -> Vec<String> {
    let row = |i| rows.values(i).iter().map(python_text::str).collect::<Vec<_>>().join("|");
    (0..rows.len()).map(row).collect()
}

fn read(loader: &str, name: &str, content: impl AsRef<[u8]>) -> olive_core::Result<Rows> {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), name, content);
    data::load_rows(&load(loader, &[&path]))
}

fn json(content: &str) -> Vec<String> {
    printed(&read("json", "rows.json", content).unwrap())
}

fn csv(content: &str) -> Vec<String> {
    printed(&read("csv", "rows.csv", content).unwrap())
}

#[test]
fn json_comes_in_many_forms() {
    let expected = ["1|x", "2|y"];
    assert_eq!(json("{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": \"y\"}\n"), expected);
    assert_eq!(json("\u{feff}{\"a\": 1, \"b\": \"x\"}\r\n\r\n{\"b\": \"y\", \"a\": 2}"), expected);
    assert_eq!(json("[{\"a\": 1, \"b\": \"x\"},\n {\"a\": 2, \"b\": \"y\"}]"), expected);
    assert_eq!(json("{\"a\": 1, \"b\": \"x\"}{\"a\": 2, \"b\": \"y\"}"), expected);
    assert_eq!(json("{\n\"a\": 1, \"b\": \"x\"\n}\n{\n\"a\": 2, \"b\": \"y\"}"), expected);
    assert_eq!(json("[\"x\", \"y\"]"), ["x", "y"]);
    let dir = tempfile::tempdir().unwrap();
    for nested in
        ["[{\"a\": 1, \"b\": \"x\"}, {\"a\": 2, \"b\": \"y\"}]", "{\"a\": [1, 2], \"b\": [\"x\", \"y\"]}"]
    {
        let path = write(dir.path(), "rows.json", format!("{{\"version\": 1, \"data\": {nested}}}"));
        let load = LoadDataset { field: Some("data".into()), ..load("json", &[&path]) };
        assert_eq!(printed(&rows(&load)), expected);
        let wrong = complaint(data::load_rows(&LoadDataset { field: Some("dta".into()), ..load }));
        assert!(wrong.contains("no field `dta`; it has `version`, `data` | did you mean `data`?"), "{wrong}");
    }
}

#[test]
fn json_values_have_pythons_types() {
    assert_eq!(json("{\"a\": 1}\n{\"a\": 2.5}\n{\"b\": true}"), ["1.0|None", "2.5|None", "None|True"]);
    assert_eq!(json("{\"a\": 1}\n{\"a\": \"x\"}"), ["1", "x"]);
    assert_eq!(json("{\"a\": [1, 2]}\n{\"a\": [0.5]}"), ["[1.0, 2.0]", "[0.5]"]);
    let nested = json("{\"m\": [{\"r\": \"u\", \"x\": 1}, {\"r\": \"it's\"}], \"d\": {\"k\": null}}");
    assert_eq!(nested, ["[{'r': 'u', 'x': 1}, {'r': \"it's\"}]|{'k': None}"]);
    assert_eq!(json("{\"a\": 123456789012345678901234567890}"), ["1.2345678901234568e+29"]);
    assert_eq!(json("{\"a\": 18446744073709551615}"), ["1.8446744073709552e+19"]);
    assert_eq!(json("{\"a\": \"\\u00e9\\ud83d\\ude00\"}"), ["é😀"]);
    let long = "x".repeat(5_000_000);
    assert_eq!(json(&format!("{{\"a\": \"{long}\"}}\n")), [long]);
}

#[test]
fn a_file_that_is_named_alone_is_read_by_its_extension() {
    let dir = tempfile::tempdir().unwrap();
    let alone = |name: &str| LoadDataset {
        data_name: write(dir.path(), name, "a,b\n1,x\n"),
        data_files: DataFiles::Unset,
        ..load("", &[])
    };
    assert_eq!(printed(&rows(&alone("rows.csv"))), ["1|x"]);
    let error = complaint(data::load_rows(&alone("rows.of-mine")));
    assert!(error.contains("neither a loader nor a folder or file of rows"), "{error}");
}

/// Up to 15 digits come back as they were written.
#[test]
fn floats_are_read_exactly() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut float = || {
        let (digits, exponent) = (next() % 1_000_000_000_000_000, next() % 23);
        format!("{digits}e{}", exponent as i64 - 22).parse::<f64>().unwrap()
    };
    let written: Vec<String> = (0..20_000).map(|_| python_text::float_repr(float())).collect();
    let lines: String = written.iter().map(|f| format!("{{\"a\": {f}}}\n")).collect();
    let read = json(&lines);
    let wrong: Vec<_> = written.iter().zip(&read).filter(|(a, b)| a != b).collect();
    assert!(wrong.is_empty(), "{}: {:?}", wrong.len(), &wrong[..3.min(wrong.len())]);
}

#[test]
fn a_damaged_line_is_named() {
    let mut lines = vec!["{\"q\": \"ok\"}"; 5000];
    lines[4710] = "{\"q\": \"no end}";
    let error = complaint(read("json", "rows.jsonl", lines.join("\n")));
    assert!(error.contains("rows.jsonl`, line 4711: not valid JSON at column"), "{error}");
    lines[4710] = "[1, 2]";
    let error = complaint(read("json", "rows.jsonl", lines.join("\r\n")));
    assert!(error.contains("rows.jsonl`, line 4711: a row must be an object"), "{error}");
    let error = complaint(read("json", "rows.json", "[{\"a\": 1},\n{\"a\": }]"));
    assert!(error.contains("line 2: not valid JSON at column 7"), "{error}");
    let error = complaint(read("json", "rows.json", "{\n\"a\": 1\n}\n{\n\"a\": x\n}"));
    assert!(error.contains("line 5: not valid JSON at column 6"), "{error}");
    let error = complaint(read("json", "rows.jsonl", b"{\"a\": \"x\"}\n{\"a\": \"\xff\"}\n"));
    assert!(error.contains("rows.jsonl`, line 2: the text is not UTF-8"), "{error}");
}

#[test]
fn csv_has_the_types_of_pandas() {
    let text = "a,b,c,d,e\n1,1.5,x,True,\n2,,NA,false,\n3,1e5,\"q \"\"z\"\" , y\",TRUE,\n";
    assert_eq!(
        csv(text),
        ["1|1.5|x|True|None", "2|None|None|False|None", "3|100000.0|q \"z\" , y|True|None"]
    );
    assert_eq!(csv("a,b\n1,\n,x\n"), ["1.0|None", "None|x"]);
    assert_eq!(csv("a,b\n007, 5\n+3,6 \n"), ["7|5", "3|6"]);
    assert_eq!(csv("a,b\n1\n\n2,3\n"), ["1|None", "2|3.0"]);
    assert_eq!(csv("a,b\ninf,-inf\n1,2\n"), ["inf|-inf", "1.0|2.0"]);
    assert_eq!(csv("a,b\nTrue,x\n,None\n"), ["True|x", "None|None"]);
    assert_eq!(csv("\u{feff}a,b\r\n1,\"x\r\ny\"\r\n"), ["1|x\r\ny"]);
    assert_eq!(csv("a\n1_000\n2\n"), ["1_000", "2"]);
    assert_eq!(csv("a\n\" x\"\n 1\n"), [" x", " 1"]);
    assert_eq!(csv("a\n.5\n1.\n"), ["0.5", "1.0"]);
    assert_eq!(csv("a,b\nyes,2024-01-01\n"), ["yes|2024-01-01"]);
    let named = read("csv", "rows.csv", "a,a,\n1,2,3\n").unwrap();
    assert_eq!(named.columns, ["a", "a.1", "Unnamed: 2"]);
    let error = complaint(read("csv", "rows.csv", "a,b\n1,2\n3,4,5\n"));
    assert!(error.contains("rows.csv`, line 3: 3 values where the header has 2 columns"), "{error}");
}

#[test]
fn parquet_prints_what_pyarrow_holds() {
    let expected = fixture_json("parquet.json");
    for codec in ["none", "snappy", "zstd", "gzip", "brotli", "lz4"] {
        let path = fixture(&format!("rows-{codec}.parquet"));
        let rows = rows(&load("parquet", &[path.to_str().unwrap()]));
        assert_eq!(
            printed(&rows),
            serde_json::from_value::<Vec<String>>(expected["expected"].clone()).unwrap()
        );
        assert_eq!(format!("{{{}}}", rows.columns.join("}|{")), expected["template"].as_str().unwrap());
    }
    let error = complaint(read("parquet", "rows.parquet", "no parquet at all"));
    assert!(error.contains("rows.parquet`: not a readable parquet file"), "{error}");
}

#[test]
fn text_has_a_row_per_line() {
    let rows = read("text", "rows.txt", "a\r\n\nb{c}\n").unwrap();
    assert_eq!(
        (rows.columns.as_slice(), printed(&rows)),
        (&["text".to_owned()][..], vec!["a".into(), "".into(), "b{c}".into()])
    );
    assert_eq!(rows.location(2).to_string().split("`, ").nth(1), Some("line 3"));
}

/// `{"n": 1}` and `{"n": 2}`, each on a line.
const GZIP: &str = "1f8b0800000000000203ab56ca53b25230ace5aa06338c6ab9001d257cb912000000";
const BZIP2: &str = "425a6839314159265359c21d865300000759800010500030100001000a200021280d3420c9886238668810df8bb922\
                     9c2848610ec32980";
const XZ: &str = "fd377a585a0000016922de360200210116000000742fe5a30100117b226e223a20317d0a7b226e223a20327d0a0000001d2\
                  57cb9000126124747e1109042990d010000000001595a";
const ZSTD: &str = "28b52ffd04589100007b226e223a20317d0a7b226e223a20327d0abe3b7246";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn zip(members: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn compressed_files_are_known_by_their_content() {
    for packed in [GZIP, BZIP2, XZ, ZSTD] {
        let content = bytes(packed);
        // The name need not say it.
        for name in ["rows.jsonl.packed", "rows.jsonl"] {
            assert_eq!(printed(&read("json", name, &content).unwrap()), ["1", "2"], "{packed}");
        }
        // Several streams one after another are one file.
        let twice = [&content[..], &content[..]].concat();
        assert_eq!(printed(&read("json", "rows.jsonl", twice).unwrap()), ["1", "2", "1", "2"], "{packed}");
        let error = complaint(read("json", "rows.jsonl", &content[..content.len() - 9]));
        assert!(
            error.contains("rows.jsonl`: its ") && error.contains("content cannot be unpacked"),
            "{error}"
        );
    }
    let rows = read("json", "rows.jsonl.gz", bytes(GZIP)).unwrap();
    assert!(rows.location(1).to_string().ends_with("rows.jsonl.gz`, line 2"));
    assert_eq!(printed(&read("text", "rows.txt", "BZh is no mark").unwrap()), ["BZh is no mark"]);

    let archive = zip(&[
        ("in/b.jsonl", "{\"n\": 2}\n"),
        ("a.jsonl", "{\"n\": 1}\n{\"n\": x}\n"),
        ("__MACOSX/a.jsonl", "x"),
        ("in/.hidden.jsonl", "x"),
        ("README.md", "x"),
    ]);
    let error = complaint(read("json", "rows.zip", archive));
    assert!(error.contains("rows.zip/a.jsonl`, line 2: not valid JSON"), "{error}");
    let archive = zip(&[("b.json", "[{\"n\": 2}]"), ("a.jsonl", "{\"n\": 1}\n"), ("c.csv", "n\n3\n")]);
    assert_eq!(printed(&read("json", "rows.zip", archive).unwrap()), ["1", "2"]);
    assert_eq!(printed(&read("csv", "rows.zip", zip(&[("rows", "n\n3\n")])).unwrap()), ["3"]);
}

#[test]
fn what_is_not_unpacked_is_called_by_its_name() {
    let tar = [&[b'x'; 257][..], b"ustar\x0000", &[0; 300][..]].concat();
    for (content, format) in [
        (&b"7z\xbc\xaf\x27\x1c\0\x04"[..], "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (&tar, "a tar archive"),
        (b"\x04\x22\x4d\x18\x64\x40", "lz4-compressed"),
    ] {
        let error = complaint(read("json", "rows.jsonl", content));
        assert!(error.contains(&format!("rows.jsonl` is {format}, which is not unpacked here")), "{error}");
        assert!(error.contains("use gzip, bzip2, xz, zstd or zip"), "{error}");
    }
    // The same inside of what is unpacked: a `.tar.gz`, for example.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    packed.write_all(&tar).unwrap();
    let error = complaint(read("json", "rows.tar.gz", packed.finish().unwrap()));
    assert!(error.contains("is a tar archive, which is not unpacked here"), "{error}");
}

#[test]
fn a_folder_may_hold_compressed_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "train-0.jsonl.gz", bytes(GZIP));
    write(dir.path(), "train-1.JSONL.ZST", bytes(ZSTD));
    write(dir.path(), "test.jsonl", "{\"n\": 9}\n");
    write(dir.path(), "README.md", "x");
    assert_eq!(printed(&rows(&of(dir.path()))), ["1", "2", "1", "2"]);
    let parquet = std::fs::read(fixture("rows-none.parquet")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    packed.write_all(&parquet).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rows.parquet.gz", packed.finish().unwrap());
    let path = fixture("rows-none.parquet");
    assert_eq!(printed(&rows(&of(dir.path()))), printed(&rows(&load("parquet", &[path.to_str().unwrap()]))));
}

/// The rows of a file as a reader with these options makes them, the columns first.
fn read_with(loader: &str, name: &str, content: &str, reader: ReaderOptions) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), name, content);
    let rows = rows(&LoadDataset { reader, ..load(loader, &[&path]) });
    [vec![rows.columns.join("|")], printed(&rows)].concat()
}

/// What pandas makes of the same text with the same arguments.
#[test]
fn csv_is_read_as_the_options_say() {
    let text = "q;a\nx, y;1\n\n\"z;\nw\";2\nlast;3\n";
    let semicolon = || ReaderOptions { delimiter: Some(AsciiChar(b';')), ..Default::default() };
    let csv = |options: ReaderOptions| read_with("csv", "rows.csv", text, options);
    assert_eq!(csv(semicolon()), ["q|a", "x, y|1", "z;\nw|2", "last|3"]);
    let named = || ReaderOptions { column_names: Some(vec!["c".into(), "d".into()]), ..semicolon() };
    assert_eq!(csv(named()), ["c|d", "q|a", "x, y|1", "z;\nw|2", "last|3"]);
    let headed = |header| csv(ReaderOptions { header: Some(header), ..named() });
    assert_eq!(headed(Header::Infer), csv(named()));
    assert_eq!(headed(Header::First), ["c|d", "x, y|1", "z;\nw|2", "last|3"]);
    let skipped = |skip| csv(ReaderOptions { skiprows: Some(skip), ..semicolon() });
    assert_eq!(skipped(SkipRows::First(1)), ["x, y|1", "z;\nw|2", "last|3"]);
    assert_eq!(skipped(SkipRows::First(0)), csv(semicolon()));
    assert_eq!(skipped(SkipRows::These(vec![1])), ["q|a", "z;\nw|2", "last|3"]);
    assert_eq!(skipped(SkipRows::These(vec![2])), csv(semicolon()), "the empty line is counted");
    assert_eq!(skipped(SkipRows::These(vec![3])), ["q|a", "x, y|1", "last|3"], "two lines in quotes are one");
    assert_eq!(skipped(SkipRows::These(vec![4])), ["q|a", "x, y|1", "z;\nw|2"]);
    let quoted = ReaderOptions { quotechar: Some(AsciiChar(b'\'')), ..semicolon() };
    let rows = read_with("csv", "rows.csv", "q;a\n'x;1';2\n\"y\";3\n", quoted);
    assert_eq!(rows, ["q|a", "x;1|2", "\"y\"|3"]);
    let tab = ReaderOptions { delimiter: Some(AsciiChar(b'\t')), ..Default::default() };
    assert_eq!(read_with("csv", "rows.tsv", "q\ta\nx, y\t1\n", tab), ["q|a", "x, y|1"]);

    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "rows.csv", "q;a\nx;1\n");
    let complaint = |rows: &LoadDataset, template: &str| {
        let model = toy_model(dir.path());
        complaint(prepare(rows.clone(), options(Era::New, Strategy::Join, 4, template), &model))
    };
    let error = complaint(&load("csv", &[&path]), "{q}");
    assert!(error.contains("there is `q;a` | the header looks as if \";\" stood between"), "{error}");
    assert!(error.contains("set `delimiter` to \";\""), "{error}");
    let path = write(dir.path(), "commas.csv", "q;a\nx, y, z;1\n");
    let error = complaint(&load("csv", &[&path]), "{q}");
    assert!(error.contains("3 values where the header has 1 columns | the header looks as if"), "{error}");
}

#[test]
fn text_is_cut_as_the_options_say() {
    let by = |sample_by| ReaderOptions { sample_by: Some(sample_by), ..Default::default() };
    let text = |sample_by| read_with("text", "rows.txt", "a\r\nb\n\nc\n\n\nd\n", by(sample_by));
    assert_eq!(text(SampleBy::Line), ["text", "a", "b", "", "c", "", "", "d"]);
    assert_eq!(text(SampleBy::Paragraph), ["text", "a\nb", "c", "\nd\n"]);
    assert_eq!(text(SampleBy::Document), ["text", "a\nb\n\nc\n\n\nd\n"]);
}

#[test]
fn options_of_another_reader_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "rows.jsonl", "{\"a\": 1}\n");
    let reader = ReaderOptions { delimiter: Some(AsciiChar(b';')), ..Default::default() };
    let wrong = LoadDataset { reader, ..load("json", &[&path]) };
    let error = complaint(data::inputs(&wrong));
    assert_eq!(error, "the reader `json` has no option `delimiter` | `delimiter` is an option of `csv`");
    let wrong = LoadDataset { field: Some("a".into()), ..load("text", &[&path]) };
    assert!(complaint(data::load_rows(&wrong)).contains("`field` is an option of `json`"));
}

/// A folder with one row per file, which says where it is from.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        write(dir.path(), file, format!("{{\"from\": \"{file}\"}}\n"));
    }
    dir
}

fn of(dir: &Path) -> LoadDataset {
    LoadDataset { data_files: DataFiles::Unset, ..load(dir.to_str().unwrap(), &[]) }
}

fn local(path: &Path) -> ResourcePath {
    ResourcePath::Local(path.to_str().unwrap().to_owned())
}

#[test]
fn folders_are_datasets() {
    let split = |files: &[&str], split: &str| {
        let dir = folder(files);
        let by_name = LoadDataset { split: split.into(), ..of(dir.path()) };
        let by_dir =
            LoadDataset { data_name: "json".into(), data_dir: Some(local(dir.path())), ..by_name.clone() };
        let found = printed(&rows(&by_name));
        assert_eq!(found, printed(&rows(&by_dir)));
        found
    };
    assert_eq!(split(&["y.jsonl", "x.json", "notes.txt", ".hidden.jsonl"], "train"), ["x.json", "y.jsonl"]);
    let named = ["train.jsonl", "my-test_1.jsonl", "dev2.jsonl", "other.jsonl"];
    assert_eq!(split(&named, "train"), ["train.jsonl"]);
    assert_eq!(split(&named, "validation"), ["dev2.jsonl"]);
    assert_eq!(split(&named, "test+train"), ["my-test_1.jsonl", "train.jsonl"]);
    assert_eq!(
        split(&["data/train/x.jsonl", "valid/y.jsonl"], "all"),
        ["data/train/x.jsonl", "valid/y.jsonl"]
    );
    let dir = folder(&["a.md"]);
    assert!(complaint(data::load_rows(&of(dir.path()))).contains("holds no json, csv, parquet or txt file"));
    let subset = LoadDataset { subset: Some("main".into()), ..of(dir.path()) };
    assert!(complaint(data::load_rows(&subset)).contains("the subset `main` cannot be chosen"));
}

#[test]
fn files_are_given_by_path_pattern_list_and_split() {
    let dir = folder(&["b.jsonl", "a.jsonl", "c/d.jsonl", "c/x[1].jsonl"]);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let from = |files: &[String]| {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        printed(&rows(&load("json", &files)))
    };
    assert_eq!(from(&[path("*.jsonl")]), ["a.jsonl", "b.jsonl"]);
    assert_eq!(from(&[path("b.jsonl"), path("a.jsonl")]), ["b.jsonl", "a.jsonl"]);
    assert_eq!(from(&[path("**/[a-d].jsonl")]), ["a.jsonl", "b.jsonl", "c/d.jsonl"]);
    assert_eq!(from(&[path("c/x[1].jsonl")]), ["c/x[1].jsonl"]);
    let relative = LoadDataset { data_dir: Some(local(&dir.path().join("c"))), ..load("json", &["d.jsonl"]) };
    assert_eq!(printed(&rows(&relative)), ["c/d.jsonl"]);

    let splits = [("test", path("a.jsonl")), ("train", path("b.jsonl"))];
    let per_split = LoadDataset {
        data_files: DataFiles::PerSplit(splits.map(|(s, p)| (s.to_owned(), vec![p])).into()),
        ..load("json", &[])
    };
    assert_eq!(printed(&rows(&per_split)), ["b.jsonl"]);
    let (reader, splits) = data::inputs(&per_split).unwrap();
    assert_eq!(reader.name, "json");
    assert_eq!(splits, [SplitFiles { split: "train".into(), files: vec![dir.path().join("b.jsonl")] }]);
    let other = LoadDataset { split: "tets[:1]".into(), ..per_split };
    let error = complaint(data::load_rows(&other));
    assert!(error.contains("no split `tets`; there is `test`, `train` | did you mean `test`?"), "{error}");
    let plain = LoadDataset { split: "validation".into(), ..load("json", &[&path("a.jsonl")]) };
    assert!(complaint(data::inputs(&plain)).contains("are all in the split `train`"));
}

#[test]
fn wildcards_tell_capital_letters_from_small_ones() {
    let dir = folder(&["a.jsonl", "B.jsonl", "c.JSONL"]);
    let found = |pattern: &str| printed(&rows(&load("json", &[dir.path().join(pattern).to_str().unwrap()])));
    assert_eq!(found("[a-c].jsonl"), ["a.jsonl"]);
    assert_eq!(found("?.JSONL"), ["c.JSONL"]);
    assert_eq!(found("[A-Z]*"), ["B.jsonl"]);
}

#[test]
fn records_of_runs_are_no_data() {
    let dir = folder(&["out/.olive/runs/1/metrics.jsonl", "out/rows.jsonl"]);
    let found = |pattern: &str| data::load_rows(&load("json", &[dir.path().join(pattern).to_str().unwrap()]));
    let error = complaint(found("out/.olive/runs/*/*.jsonl"));
    assert!(error.contains("out/.olive/runs/*/*.jsonl") && error.contains("records of runs"), "{error}");
    assert_eq!(printed(&found("**/*.jsonl").unwrap()), ["out/rows.jsonl"]);
}

#[test]
fn names_of_files_need_not_be_utf8() {
    let dir = folder(&["a.jsonl"]);
    let name = OsStr::from_bytes(b"b\xff\n.jsonl");
    std::fs::write(dir.path().join(name), "{\"from\": \"elsewhere\"}\n").unwrap();
    let pattern = |pattern: &str| load("json", &[dir.path().join(pattern).to_str().unwrap()]);
    for of_both in [of(dir.path()), pattern("*.jsonl"), pattern("**/?*.jsonl")] {
        assert_eq!(printed(&rows(&of_both)), ["a.jsonl", "elsewhere"]);
    }
    assert_eq!(printed(&rows(&pattern("b*"))), ["elsewhere"]);
    std::fs::write(dir.path().join(name), "{").unwrap();
    let error = complaint(data::load_rows(&pattern("b*")));
    assert!(error.contains("b\\xff\\n.jsonl`, line 1: not valid JSON"), "{error}");
}

#[test]
fn links_and_patterns_may_lead_to_a_file_more_than_once() {
    let dir = folder(&["a.jsonl", "b/c/d.jsonl", "b/.hidden/x.jsonl"]);
    symlink(dir.path(), dir.path().join("b/back")).unwrap();
    symlink(dir.path().join("b"), dir.path().join("b/c/again")).unwrap();
    let elsewhere = folder(&["e.jsonl"]);
    symlink(elsewhere.path(), dir.path().join("link")).unwrap();
    symlink(dir.path(), elsewhere.path().join("back")).unwrap();
    assert_eq!(printed(&rows(&of(dir.path()))), ["a.jsonl", "b/c/d.jsonl", "e.jsonl"]);
    let matching = |pattern: &str| {
        let load = LoadDataset {
            data_dir: Some(ResourcePath::Local(dir.path().display().to_string())),
            ..load("json", &[pattern])
        };
        data::load_rows(&load).map(|rows| printed(&rows))
    };
    assert_eq!(matching("**/*.jsonl").unwrap(), ["a.jsonl", "b/c/d.jsonl", "e.jsonl"]);
    assert_eq!(matching("**/c/**/**/*.jsonl").unwrap(), ["b/c/d.jsonl"]);
    assert_eq!(matching("./b/../*/./e.jsonl").unwrap(), ["e.jsonl"]);
    let many = "**/".repeat(500_000) + &"*/**/".repeat(1000) + "*.jsonl";
    assert!(complaint(matching(&many)).contains("matches no file"));
    assert!(complaint(matching("*/../x*")).contains("`*/../x*` is not valid: `..` cannot follow a wildcard"));
}

/// Each of these folders has two links to the next: there are 2 to the 30 paths.
#[test]
fn folders_behind_links_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let at = |level: u32| dir.path().join(level.to_string());
    for level in 0..30 {
        std::fs::create_dir(at(level)).unwrap();
        for link in ["l", "r"] {
            symlink(at(level + 1), at(level).join(link)).unwrap();
        }
    }
    std::fs::create_dir(at(30)).unwrap();
    let error = complaint(data::load_rows(&of(&at(0))));
    assert!(error.contains("leads through more than 10000 folders behind links"), "{error}");
}

#[test]
fn what_is_no_file_is_not_among_the_files_of_a_folder() {
    let dir = folder(&["a.jsonl"]);
    let socket = UnixListener::bind(dir.path().join("b.jsonl")).unwrap();
    assert_eq!(printed(&rows(&of(dir.path()))), ["a.jsonl"]);
    drop(socket);
}

#[test]
fn what_cannot_be_found_is_said() {
    let dir = folder(&["a.jsonl"]);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let error = |load: LoadDataset| complaint(data::load_rows(&load));
    assert!(error(load("json", &[&path("b.jsonl")])).contains("b.jsonl` does not exist"));
    assert!(error(load("json", &[&path("*.csv")])).contains("*.csv` matches no file"));
    assert!(error(load("json", &[dir.path().to_str().unwrap()])).contains("`data_dir` takes a folder"));
    assert!(error(of(Path::new("json"))).contains("neither `data_files` nor `data_dir` is given"));
    let hub = error(of(Path::new("someone/some-dataset")));
    assert!(hub.contains("not downloaded") && hub.contains("`data_files`"), "{hub}");
    assert!(error(load("arrow", &["x"])).contains("the loader `arrow` is not supported"));
    let url = error(load("json", &["https://example.org/rows.jsonl"]));
    assert!(url.contains("https://example.org/rows.jsonl") && url.contains("data_files=PATH"), "{url}");
    let empty = write(dir.path(), "empty.jsonl", " \n");
    assert!(error(load("json", &[&empty])).contains("empty.jsonl` is empty"));

    let place = AzureMlPlace::Datastore { datastore: "store".into(), path: "rows".into() };
    let resource = AzureMlResource { client: None, place };
    let dir_there = LoadDataset {
        data_dir: Some(ResourcePath::AzureMl(Box::new(resource.clone()))),
        ..of(Path::new("json"))
    };
    assert!(error(dir_there).contains("`azureml://datastores/store/paths/rows`"));
    let remote = LoadDataset {
        data_files: DataFiles::AzureMl([("train".to_owned(), vec![resource])].into()),
        ..load("json", &[])
    };
    let model = toy_model(dir.path());
    let hint = complaint(prepare(remote, options(Era::Old, Strategy::Join, 4, "{q}"), &model));
    let wanted = "--set data_configs.my_data.load_dataset_config.params.data_files=PATH";
    let there = "a datastore of AzureML, `azureml://datastores/store/paths/rows`";
    assert!(hint.contains(there) && hint.contains(wanted), "{hint}");
}

#[test]
fn slices_and_filters_choose_rows() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..10).map(|i| format!("{{\"n\": {i}, \"k\": \"{}\"}}\n", i % 2)).collect();
    let path = write(dir.path(), "rows.jsonl", lines);
    let column = |load: &LoadDataset| -> Vec<i64> {
        let rows = rows(load);
        let number = |i| match rows.values(i)[0] {
            Value::Int(n) => n,
            ref other => panic!("{other:?}"),
        };
        (0..rows.len()).map(number).collect()
    };
    let split = |split: &str| LoadDataset { split: split.into(), ..load("json", &[&path]) };
    assert_eq!(column(&split("train[:30%]+train[-1:]")), [0, 1, 2, 9]);
    assert_eq!(rows(&split("train[-1:]")).location(0).number, 10);
    let filters = [("k".to_owned(), serde_json::json!("1"))];
    let filtered = LoadDataset { col_filters: filters.into(), ..split("train[:5]") };
    assert_eq!(column(&filtered), [1, 3]);
    let number =
        LoadDataset { col_filters: [("n".to_owned(), serde_json::json!(4.0))].into(), ..split("train") };
    assert_eq!(column(&number), [4]);
    let none = LoadDataset { col_filters: [("k".to_owned(), serde_json::json!(1))].into(), ..split("train") };
    assert!(complaint(data::load_rows(&none)).contains("none of the 10 rows passes `col_filters`"));
    let missing =
        LoadDataset { col_filters: [("kk".to_owned(), serde_json::json!(1))].into(), ..split("train") };
    assert!(complaint(data::load_rows(&missing)).contains("no column `kk`, which `col_filters` needs"));
    assert!(complaint(data::load_rows(&split("train[5:2]"))).contains("selects none of the 10 rows"));
    let wrong = complaint(data::load_rows(&split("train[:150%]")));
    assert!(wrong.contains("percentages lie between") && wrong.contains("train[:90%]"), "{wrong}");
}

#[test]
fn columns_of_several_files_come_together() {
    let dir = tempfile::tempdir().unwrap();
    let first = write(dir.path(), "1.jsonl", "{\"a\": \"10\", \"b\": \"11\"}\n");
    let second = write(dir.path(), "2.jsonl", "{\"b\": \"12\", \"a\": \"13\", \"c\": 1}\n");
    let load = load("json", &[&first, &second]);
    assert_eq!(printed(&rows(&load)), ["10|11|None", "13|12|1"]);
    let model = toy_model(dir.path());
    let dataset =
        prepare(load.clone(), options(Era::New, Strategy::LineByLine, 4, "{b} {a}"), &model).unwrap();
    assert_eq!(ids(&dataset), [[11, 10], [12, 13]]);
    assert_eq!(rows(&load).location(1).path, Path::new(&second));
}
