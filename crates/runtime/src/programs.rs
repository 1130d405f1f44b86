//! Programs of this machine, started so that the working folder, which may be anybody's, has no say in what they run.

use olive_core::shown;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folders that programs are taken from.
#[derive(Debug, Clone, Default)]
pub struct Programs(Vec<PathBuf>);

/// A program, and what comes before all other arguments.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    before: &'static [&'static str],
}

/// Ways to call pip. `-I` keeps the working folder, `PYTHON…` variables and the user's packages out of Python; pip's own
/// configuration, with index and proxy, stays.
const PIPS: [(&str, &[&str]); 4] =
    [("python3", &["-I", "-m", "pip"]), ("pip3", &[]), ("pip", &[]), ("python", &["-I", "-m", "pip"])];

impl Programs {
    /// Those of a value of `PATH`. Relative and empty entries mean the working folder and what lies in it: they are left out.
    pub fn of_path(value: &OsStr) -> Programs {
        Programs(std::env::split_paths(value).filter(|dir| dir.is_absolute()).collect())
    }

    /// The first pip that works.
    pub fn pip(&self) -> Option<Program> {
        let mut pips = PIPS.into_iter().filter_map(|(name, before)| self.find(name, before));
        pips.find(|pip| {
            let answer = pip.run(["--version", "--disable-pip-version-check"]);
            answer.is_ok_and(|answer| answer.status.success())
        })
    }

    /// Where the default Python keeps the package `onnxruntime`, without importing it.
    pub(crate) fn python_package(&self) -> Option<PathBuf> {
        // An isolated Python does not look at the user's packages by itself.
        const ASK: &str = "import importlib.util as u, site, sys\n\
                           sys.path.append(site.getusersitepackages())\n\
                           s = u.find_spec('onnxruntime')\n\
                           print(s.submodule_search_locations[0] if s else '')";
        ["python3", "python"].into_iter().filter_map(|name| self.find(name, &["-I", "-c"])).find_map(
            |python| {
                let answer = python.run([ASK]).ok().filter(|answer| answer.status.success())?;
                let package = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
                package.is_absolute().then_some(package)
            },
        )
    }

    fn find(&self, name: &str, before: &'static [&'static str]) -> Option<Program> {
        let path = self.0.iter().map(|dir| dir.join(name)).find(|path| is_program(path))?;
        Some(Program { path, before })
    }
}

impl Program {
    /// Runs it in an empty folder and gives what it says.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> std::io::Result<Output> {
        let folder = tempfile::tempdir()?;
        Command::new(&self.path)
            .args(self.before)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", shown(&self.path))?;
        self.before.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_folder_is_no_place_for_programs() {
        let found = Programs::of_path(OsStr::new(":.:bin:/usr/bin:./tools:/bin:"));
        assert_eq!(found.0, [Path::new("/usr/bin"), Path::new("/bin")]);
    }
}
