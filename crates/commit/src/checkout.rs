//! What git, or an archive that git made, says of a folder.

use std::path::Path;
use std::process::{Command, Stdio};

/// Digits of a commit that are shown.
const DIGITS: usize = 12;

/// The commit's whole number in an archive that `git archive` made, as `.gitattributes` asks; a placeholder elsewhere.
const ARCHIVED: &str = include_str!("archived.txt");

/// The commit that this folder, the root of a checkout or of an archive, has.
pub(crate) fn commit(root: &Path) -> Option<String> {
    of_git(root).or_else(|| of_archive(ARCHIVED))
}

/// Of a checkout whose root this is; one that the folder merely lies in does not count.
fn of_git(root: &Path) -> Option<String> {
    let root = root.canonicalize().ok()?;
    let output = Command::new("git")
        .args(["--no-optional-locks", "describe", "--always", "--exclude=*", "--dirty=+dirty"])
        .arg(format!("--abbrev={DIGITS}"))
        .current_dir(&root)
        .env_remove("GIT_DIR")
        .env("GIT_CEILING_DIRECTORIES", root.parent()?)
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn of_archive(text: &str) -> Option<String> {
    let commit = text.trim();
    let is_commit = commit.len() >= DIGITS && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| commit[..DIGITS].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b.invalid"]).args(arguments);
        let output = command.current_dir(dir).env_remove("GIT_DIR").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_checkout_has_its_commit_and_says_when_files_differ() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_git(dir.path()), None);
        git(dir.path(), &["init", "--quiet"]);
        std::fs::write(dir.path().join("a"), "1").unwrap();
        git(dir.path(), &["add", "a"]);
        git(dir.path(), &["commit", "--quiet", "--message", "one"]);
        git(dir.path(), &["tag", "--annotate", "--message", "one", "v1"]);
        let clean = of_git(dir.path()).unwrap();
        assert!(clean.len() == DIGITS && clean.bytes().all(|b| b.is_ascii_hexdigit()), "{clean}");
        std::fs::write(dir.path().join("a"), "2").unwrap();
        assert_eq!(of_git(dir.path()).unwrap(), format!("{clean}+dirty"));
        let inside = dir.path().join("unpacked");
        std::fs::create_dir(&inside).unwrap();
        assert_eq!(of_git(&inside), None, "it lies in somebody else's checkout");
    }

    #[test]
    fn an_archive_has_the_commit_that_git_wrote_into_it() {
        assert_eq!(of_archive("0123456789abcdef0123456789abcdef01234567\n").as_deref(), Some("0123456789ab"));
        assert_eq!(of_archive(ARCHIVED), None, "a checkout has a placeholder");
    }
}
