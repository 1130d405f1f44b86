//! `--sandbox`: what a configuration from a stranger may do. The kernel enforces it (Landlock), so that it does not
//! matter which file names which.

use super::Globals;
use olive_core::{Fault, Result, shown};

/// What to say where a file was out of reach.
pub(crate) const HINT: &str =
    "`--sandbox` allows files below the working folder only: copy what is needed there, or run without it";

#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("this system cannot enforce `--sandbox`")]
    Unsupported,
    #[cfg(target_os = "linux")]
    #[error("the sandbox cannot be entered")]
    Rules(#[from] landlock::RulesetError),
    #[cfg(target_os = "linux")]
    #[error("`{}` cannot be allowed in the sandbox", shown(path))]
    Path { path: std::path::PathBuf, source: landlock::PathFdError },
    #[cfg(target_os = "linux")]
    #[error("the program cannot be started again without the secrets of its environment")]
    Restart(#[source] std::io::Error),
}

impl Fault for SandboxError {
    fn hint(&self) -> Option<String> {
        Some("it needs Linux 5.13 or newer with Landlock; a container does as well".into())
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn enter(_: &Globals) -> Result<()> {
    Err(SandboxError::Unsupported.into())
}

/// From here on this thread, and those it starts, can write below the working folder only, read there and what a program
/// needs of the system, and reach no network.
///
/// # Errors
/// The kernel cannot do it.
#[cfg(target_os = "linux")]
pub(crate) fn enter(globals: &Globals) -> Result<()> {
    Ok(linux::enter(globals)?)
}

#[cfg(target_os = "linux")]
mod linux {
    use super::super::environment;
    use super::{Globals, SandboxError};
    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
    };
    use olive_core::secrets::is_secret;
    use std::ffi::OsString;
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// The newest version of the rules that we know; of an older kernel's, what it has.
    const RULES: ABI = ABI::V6;

    /// What the system's libraries, the clock, and questions about memory and processors read. The kernel hides other
    /// processes' secrets below `/proc` from a process with such rules.
    const SYSTEM: [&str; 9] = [
        "/usr",
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/hostname",
        "/proc",
        "/sys",
        "/dev/urandom",
    ];

    /// Parts of names of variables that are dropped, too: one too many does no harm here.
    const SECRET: [&str; 4] = ["TOKEN", "SECRET", "PASSWORD", "KEY"];

    pub(super) fn enter(globals: &Globals) -> Result<(), SandboxError> {
        forget_secrets()?;
        let everything = AccessFs::from_all(RULES);
        let ruleset = Ruleset::default()
            // Files are the point: without them there is no sandbox.
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?
            .handle_access(AccessNet::from_all(RULES))?
            .scope(Scope::from_all(RULES))?
            .create()?;
        let ruleset = allow(ruleset, Path::new("."), everything)?;
        let terminal = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
        let ruleset = ["/dev/null", "/dev/tty"]
            .iter()
            .try_fold(ruleset, |r, path| allow(r, Path::new(path), terminal))?;
        let system = SYSTEM.iter().map(PathBuf::from);
        let readable = system.chain(environment::library_folders(globals));
        let read = AccessFs::from_read(RULES);
        let ruleset = readable.into_iter().try_fold(ruleset, |rules, path| allow(rules, &path, read))?;
        match ruleset.restrict_self()?.ruleset {
            RulesetStatus::NotEnforced => Err(SandboxError::Unsupported),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }

    /// `/proc/self/environ` keeps what the process was started with, so it is started again without its secrets.
    fn forget_secrets() -> Result<(), SandboxError> {
        let is_secret = |name: &OsString| {
            let name = name.to_string_lossy();
            is_secret(&name) || SECRET.iter().any(|part| name.to_uppercase().contains(part))
        };
        let secrets: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).filter(is_secret).collect();
        if secrets.is_empty() {
            return Ok(());
        }
        let program = std::env::current_exe().map_err(SandboxError::Restart)?;
        let mut again = Command::new(program);
        again.args(std::env::args_os().skip(1));
        for name in secrets {
            again.env_remove(name);
        }
        Err(SandboxError::Restart(again.exec()))
    }

    /// Allows this below `path`, if there is such a file or folder.
    fn allow(
        rules: RulesetCreated,
        path: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, SandboxError> {
        let Ok(metadata) = path.metadata() else { return Ok(rules) };
        let beneath =
            PathFd::new(path).map_err(|source| SandboxError::Path { path: path.to_owned(), source })?;
        let access = if metadata.is_dir() { access } else { access & AccessFs::from_file(RULES) };
        Ok(rules.add_rule(PathBeneath::new(beneath, access))?)
    }
}
