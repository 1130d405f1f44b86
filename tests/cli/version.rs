//! `olive --version`, alone and with `--verbose`.

use crate::support::binary::{olive, succeed, text};
use std::path::Path;

const LINE: &str = concat!("olive ", env!("CARGO_PKG_VERSION"), "\n");

fn printed(arguments: &[&str], home: &Path) -> String {
    let mut command = olive();
    command.env_clear().env("HOME", home).env("HF_TOKEN", "hf_very_secret").args(arguments);
    let output = succeed(&mut command);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_version_is_one_line() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--version"][..], &["-V"], &["--offline", "-V"], &["-V", "--quiet"]] {
        assert_eq!(printed(arguments, home.path()), LINE, "{arguments:?}");
    }
}

#[test]
fn with_verbose_it_is_what_a_bug_report_needs_without_the_name_of_the_user() {
    let home = tempfile::tempdir().unwrap();
    let block = printed(&["--version", "--verbose"], home.path());
    for arguments in [&["-V", "-v"][..], &["-v", "-V"], &["-vV"], &["--verbose", "--device", "cpu", "-V"]] {
        assert_eq!(printed(arguments, home.path()), block, "{arguments:?}");
    }
    let rest = block.strip_prefix(LINE).expect("the usual line first");
    let value = |label: &str| {
        let line = rest.lines().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("{label} is missing in\n{block}")).trim().to_owned()
    };
    let commit = value("commit");
    let number = commit.strip_suffix("+dirty").unwrap_or(&commit);
    assert!(number == "unknown" || number.bytes().all(|byte| byte.is_ascii_hexdigit()), "{block}");
    assert!(value("target").contains(std::env::consts::ARCH), "{block}");
    assert!(value("C library").contains("2.") || !cfg!(target_env = "gnu"), "{block}");
    assert!(value("ONNX Runtime").starts_with("not found"), "{block}");
    assert_eq!(value("cache"), "~/.cache/olive");
    assert!(!block.contains("very_secret") && !block.contains(home.path().to_str().unwrap()), "{block}");
}

#[test]
fn the_library_that_an_option_names_is_the_one_that_is_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let block = printed(&["-V", "-v", "--ort-lib", "/no/such/library.so"], home.path());
    assert!(block.contains("unusable") && block.contains("/no/such/library.so"), "{block}");
}
