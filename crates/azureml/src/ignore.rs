//! What is left out of an upload: the lines of `.amlignore`, or else of `.gitignore`, in the uploaded folder itself.
//!
//! They are read as Microsoft's SDK reads them, because hashes depend on it, and not quite as git does: lines are
//! tried one by one, the last that matches a path or a folder above it decides, and files are tried without looking
//! at the folders that they are in. So `!data/keep.txt` brings back a file of an ignored folder, and braces are
//! braces.

use crate::error::{Error, Result};
use ::ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::path::Path;

/// The first that exists counts, and the other does not.
const FILES: [&str; 2] = [".amlignore", ".gitignore"];

/// The lines of one file.
#[derive(Debug, Default)]
pub struct IgnoreRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    pattern: Gitignore,
    /// Otherwise it brings back what an earlier line excludes.
    excludes: bool,
}

impl IgnoreRules {
    /// The rules that lie in a folder. None, if it has no such file.
    ///
    /// # Errors
    /// The file cannot be read, is not UTF-8, or has a line that is no pattern.
    pub fn of_folder(folder: &Path) -> Result<IgnoreRules> {
        let Some(path) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) else {
            return Ok(IgnoreRules::default());
        };
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        IgnoreRules::parse(&text)
    }

    /// # Errors
    /// A line is no pattern.
    pub fn parse(text: &str) -> Result<IgnoreRules> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(str::trim).filter(|line| !matches!(*line, "" | "/" | "!"));
        let rules = lines.map(Rule::parse).collect::<Result<Vec<_>>>()?;
        Ok(IgnoreRules(rules.into_iter().flatten().collect()))
    }

    /// Whether a file is left out. `path` is relative to the folder with the rules and parted by `/`; what a link
    /// leads to outside of it begins with `../`.
    pub fn excludes(&self, path: &str) -> bool {
        let last = self.0.iter().rev().find(|rule| rule.matches(path));
        last.is_some_and(|rule| rule.excludes)
    }

    /// Whether a file may be taken although a folder above it is excluded.
    pub(crate) fn brings_back(&self) -> bool {
        self.0.iter().any(|rule| !rule.excludes)
    }
}

impl Rule {
    /// `None` for a comment.
    fn parse(line: &str) -> Result<Option<Rule>> {
        let invalid = |_| Error::Invalid {
            what: "pattern of an ignore file",
            value: line.to_owned(),
            expected: "expected the syntax of .gitignore",
        };
        let mut builder = GitignoreBuilder::new("");
        builder.add_line(None, &without_alternatives(line)).map_err(invalid)?;
        let pattern = builder.build().map_err(invalid)?;
        let excludes = pattern.num_ignores() > 0;
        Ok((!pattern.is_empty()).then_some(Rule { pattern, excludes }))
    }

    fn matches(&self, path: &str) -> bool {
        let folders = Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let mut ways = std::iter::once((Path::new(path), false)).chain(folders.map(|folder| (folder, true)));
        ways.any(|(path, is_folder)| !self.pattern.matched(path, is_folder).is_none())
    }
}

/// `{a,b}` is an alternative to the `ignore` crate and three letters with braces to git and the SDK.
fn without_alternatives(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut in_class = false;
    let mut escaped = false;
    for letter in line.chars() {
        match letter {
            _ if escaped => {}
            '[' => in_class = true,
            ']' => in_class = false,
            '{' | '}' if !in_class => out.push('\\'),
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines, paths that the SDK's patterns exclude with them, and paths that they do not.
    const CASES: [(&str, &[&str], &[&str]); 25] = [
        ("*.log", &["a.log", "x/a.log", "a.log/b", "../o/a.log"], &["a.log.txt"]),
        ("data/", &["data/x", "s/data/y"], &["data", "data.txt"]),
        ("data/\n!data/keep.txt", &["data/x"], &["data/keep.txt"]),
        ("!data/keep.txt\ndata/", &["data/keep.txt"], &[]),
        ("/top", &["top", "top/x"], &["s/top"]),
        ("a/b", &["a/b", "a/b/c"], &["x/a/b"]),
        ("a/**", &["a/b", "a/b/c"], &["a"]),
        ("**/b", &["b", "a/b", "a/b/c"], &["ab"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b/c"], &["ab"]),
        ("*", &["a", "a/b"], &[]),
        ("a/*", &["a/b", "a/b/c"], &["a"]),
        ("**/", &["a/b"], &["a"]),
        ("{a,b}", &["{a,b}"], &["a", "b"]),
        ("?.txt", &["a.txt", "x/a.txt"], &["ab.txt"]),
        ("[ab].txt", &["a.txt"], &["c.txt"]),
        ("[!ab].txt", &["c.txt"], &["a.txt"]),
        ("\\!x", &["!x"], &["x"]),
        ("\\#x", &["#x"], &[]),
        ("# x", &[], &["# x", "x"]),
        ("  pad  ", &["pad"], &[]),
        ("/", &[], &["a"]),
        ("*\n!*.py\n!*/", &["a.txt"], &["a.py", "d/a.py", "d/a.txt"]),
        ("\u{feff}a b\r\n", &["a b"], &["a"]),
        ("ä*", &["ä.txt"], &[]),
        ("A", &["A"], &["a"]),
    ];

    #[test]
    fn patterns_exclude_what_the_sdk_excludes() {
        for (lines, excluded, taken) in CASES {
            let rules = IgnoreRules::parse(lines).unwrap();
            for path in excluded {
                assert!(rules.excludes(path), "{lines:?} excludes {path}");
            }
            for path in taken {
                assert!(!rules.excludes(path), "{lines:?} takes {path}");
            }
        }
    }

    #[test]
    fn amlignore_comes_before_gitignore() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!IgnoreRules::of_folder(dir.path()).unwrap().excludes("a"));
        std::fs::write(dir.path().join(".gitignore"), "a").unwrap();
        assert!(IgnoreRules::of_folder(dir.path()).unwrap().excludes("a"));
        std::fs::write(dir.path().join(".amlignore"), "b").unwrap();
        let rules = IgnoreRules::of_folder(dir.path()).unwrap();
        assert!(rules.excludes("b") && !rules.excludes("a"));
    }

    #[test]
    fn a_line_that_is_no_pattern_is_named() {
        let error = IgnoreRules::parse("fine\na\\").unwrap_err().to_string();
        assert!(error.contains("`a\\`"), "{error}");
    }
}
