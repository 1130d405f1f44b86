//! Names that files, servers and configurations give, before they become paths.

use std::path::{Path, PathBuf};

/// A path that stays inside the folder that it is joined to, whatever the folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerPath(PathBuf);

/// Why a name is none of a file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {reason}", name.escape_debug())]
pub struct NotInside {
    pub name: String,
    /// Goes on after the name.
    pub reason: &'static str,
}

/// Names that Windows gives to devices, in every folder and with any extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

impl InnerPath {
    /// Names that are parted by `/`.
    ///
    /// # Errors
    /// [`NotInside`].
    pub fn parse(path: &str) -> Result<InnerPath, NotInside> {
        match path.split('/').find_map(wrong) {
            Some(reason) => Err(NotInside { name: path.to_owned(), reason }),
            None => Ok(InnerPath(path.into())),
        }
    }

    /// A single name.
    ///
    /// # Errors
    /// [`NotInside`].
    pub fn name(name: &str) -> Result<InnerPath, NotInside> {
        if name.contains('/') {
            return Err(NotInside { name: name.to_owned(), reason: "has a `/`" });
        }
        InnerPath::parse(name)
    }

    /// Where it lies in a folder.
    pub fn below(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// Where it lies in a folder, if no part of it on the way is a symbolic link, which could lead out of it again.
    pub fn below_without_links(&self, folder: &Path) -> Option<PathBuf> {
        let parents = self.0.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let linked = parents.into_iter().any(|parent| folder.join(parent).is_symlink());
        (!linked).then(|| self.below(folder))
    }
}

/// What is wrong with one name.
fn wrong(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_lowercase();
    let numbered = |stem: &str| {
        let number = stem.strip_prefix("com").or(stem.strip_prefix("lpt"));
        number.is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
    };
    match name {
        "" => Some("is empty, absolute, or has an empty part"),
        "." | ".." => Some("has `.` or `..` for a part"),
        _ if name.contains('\\') => Some("has a `\\`"),
        _ if name.chars().any(char::is_control) => Some("has a control character"),
        _ if DEVICES.contains(&stem.as_str()) || numbered(&stem) => {
            Some("is the name of a device on Windows")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_stay_inside_are_taken() {
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/..",
            "../a",
            "a/../../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "..\\a",
            "a\nb",
            "a\0",
            "\u{1b}[2J",
            "con",
            "NUL.onnx",
            "weights/com1.bin",
            "a/aux ",
        ] {
            assert!(InnerPath::parse(path).is_err(), "{path:?}");
        }
        for path in [
            "model.onnx",
            "a/b-00001-of-00002.safetensors",
            "..a",
            "a..b",
            ".olive",
            "con-fusion",
            "com10",
            "ö ä",
        ] {
            assert_eq!(InnerPath::parse(path).unwrap().below(Path::new("d")), Path::new("d").join(path));
        }
        assert!(InnerPath::name("a/b").is_err() && InnerPath::name("a").is_ok());
    }

    #[test]
    fn links_on_the_way_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        assert_eq!(InnerPath::parse("link/etc/passwd").unwrap().below_without_links(dir.path()), None);
        assert!(InnerPath::parse("link").unwrap().below_without_links(dir.path()).is_some());
    }
}
