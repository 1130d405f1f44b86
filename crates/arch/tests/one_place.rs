//! Families are named in one file: whatever else depends on one is asked of `Spec` or `Family`.

use olive_arch::{SUPPORTED, families};
use std::path::{Path, PathBuf};

/// Literals that look like families and are something else.
const OTHER_MEANINGS: [(&str, &str); 3] = [
    // A rotation of transformers, and of files converted from its models.
    ("arch/src/config_reader.rs", "llama3"),
    ("model/src/gguf/rope.rs", "llama3"),
    // What GGUF calls SentencePiece.
    ("model/src/gguf/tokenizer.rs", "llama"),
];

#[test]
fn no_other_source_file_names_a_family() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    assert!(files.len() > 200, "{} files", files.len());
    let mut names: Vec<String> = SUPPORTED.iter().map(|class| stem(class)).collect();
    names.extend(families::gguf_names().into_iter().map(plain));
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("arch/src/families.rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for literal in literals(text) {
            let allowed =
                OTHER_MEANINGS.iter().any(|(path, other)| file.ends_with(path) && literal == *other);
            if !allowed
                && !literal.contains(' ')
                && names.iter().any(|name| plain(&literal).starts_with(name))
            {
                found.push(format!("{}: \"{literal}\"", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "families belong into crates/arch/src/families.rs:\n{}", found.join("\n"));
}

#[test]
fn literals_are_found_between_comments_and_quotes() {
    let text = r##"f("a\"b", '"', r"c", 'x', r#"d"e"#) // "not this"
        /// nor "this"
        g("f")"##;
    assert_eq!(literals(text), ["a\\\"b", "c", "d\"e", "f"]);
    assert_eq!((stem("Qwen2ForCausalLM"), stem("SeedOssForCausalLM")), ("qwen".into(), "seedoss".into()));
}

/// `Qwen2ForCausalLM` → `qwen`.
fn stem(class: &str) -> String {
    let name = class.trim_end_matches("ForCausalLM");
    plain(name.split(|c: char| !c.is_alphabetic()).next().unwrap())
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace(['_', '-'], "")
}

fn sources(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// String literals, without their quotes.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, from) = rest.split_at(at);
        rest = &from[1..];
        if from.starts_with("//") {
            rest = from.find('\n').map_or("", |end| &from[end..]);
        } else if from.starts_with("'\"'") {
            rest = &from[3..];
        } else if from.starts_with('"') {
            let hashes = before.chars().rev().take_while(|c| *c == '#').count();
            let raw = before[..before.len() - hashes].ends_with('r');
            let end = if raw {
                from[1..].find(&format!("\"{}", "#".repeat(hashes)))
            } else {
                unescaped_quote(&from[1..])
            };
            let end = end.expect("a literal ends");
            found.push(from[1..=end].to_owned());
            rest = &from[end + 2..];
        }
    }
    found
}

fn unescaped_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}
