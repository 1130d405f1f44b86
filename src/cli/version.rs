//! `olive --version --verbose`: what a bug report needs to say of the program and the machine, to be pasted as it is. It looks,
//! changes nothing, and names neither the user nor a secret.

use super::{Globals, c_library, doctor, environment, output};
use clap::Parser;
use olive_core::{Result, device};

/// `OLIVE_COMMIT` is set by those who pack the program; elsewhere the checkout that it was compiled in says it.
const COMMIT: &str = match option_env!("OLIVE_COMMIT") {
    Some(commit) => commit,
    None => olive_commit::commit!(),
};

/// A command line that asks for the version. clap prints one line as soon as it sees `--version`; what else is there is read
/// here.
#[derive(Parser)]
#[command(ignore_errors = true, disable_help_flag = true, disable_version_flag = true)]
struct Request {
    #[arg(short = 'V', long)]
    version: bool,
    #[command(flatten)]
    globals: Globals,
}

/// The options of a command line, if it asks for more than the one line.
pub(super) fn asked_for_more() -> Option<Globals> {
    let request = Request::try_parse().ok()?;
    (request.version && request.globals.verbose).then_some(request.globals)
}

pub(super) fn print(globals: &Globals) -> Result<()> {
    environment::keep_secrets();
    let cuda = if device::built_with_cuda() { "CUDA" } else { "CPU only" };
    let cache = environment::own_cache().map_or_else(|| "none".into(), |dir| dir.display().to_string());
    let lines = [
        ("commit", COMMIT.to_owned()),
        ("target", format!("{}, {}", env!("OLIVE_TARGET"), doctor::PROFILE)),
        ("features", cuda.to_owned()),
        ("system", system()),
        ("C library", c_library::loaded().unwrap_or_else(|| "not glibc".into())),
        ("CPU", doctor::cpu_features()),
        ("ONNX Runtime", doctor::onnx_runtime(globals)),
        ("cache", cache),
    ];
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines: Vec<String> = lines.iter().map(|(label, value)| format!("{label:width$}  {value}")).collect();
    let version = env!("CARGO_PKG_VERSION");
    output::result(&format!("olive {version}\n{}", without_home(&lines.join("\n"))))
}

/// The distribution and its kernel, as they call themselves.
fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{name}, kernel {}", kernel.trim())
}

/// The user's folder, whose name is often that of a person, as `~`.
fn without_home(text: &str) -> String {
    let home = environment::home().filter(|home| home.parent().is_some());
    home.map_or_else(|| text.to_owned(), |home| text.replace(&*home.to_string_lossy(), "~"))
}
