//! Families are named in one file: whatever else depends on one is asked of `Spec` or `Family`.

use crate::modules::is_test;
use olive_arch::{SUPPORTED, families};
use proc_macro2::{TokenStream, TokenTree};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// Literals that look like families and are something else.
const OTHER_MEANINGS: [(&str, &str); 4] = [
    // A rotation of transformers, and of files converted from its models.
    ("arch/src/rope_reader.rs", "llama3"),
    ("model/src/gguf/rope.rs", "llama3"),
    // What GGUF calls SentencePiece.
    ("model/src/gguf/tokenizer.rs", "llama"),
    ("export/src/gguf/tokenizer.rs", "llama"),
];

#[test]
fn no_other_source_file_names_a_family() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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
        for literal in literals(&text) {
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
fn literals_are_found_where_they_are_code() {
    let text = r##"//! "not this"
        #[doc = "nor this"]
        fn f() { g("a\"b", '"', r"c", 'x', r#"d"e"#); /* "nor this" */ h!(x => "f", ["g"]); }
        #[cfg(test)] mod tests { const X: &str = "nor this"; }"##;
    assert_eq!(literals(text), ["a\"b", "c", "d\"e", "f", "g"]);
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

/// The string literals of a source file, outside of documentation and unit tests.
fn literals(text: &str) -> Vec<String> {
    let parsed = syn::parse_file(text).expect("a source file");
    let mut literals = Literals::default();
    literals.visit_file(&parsed);
    literals.0
}

#[derive(Default)]
struct Literals(Vec<String>);

impl<'ast> Visit<'ast> for Literals {
    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.0.push(literal.value());
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.tokens(called.tokens.clone());
    }
}

impl Literals {
    /// What stands in the arguments of a macro, which need not be expressions.
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(literal) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.0.push(literal.value());
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}
