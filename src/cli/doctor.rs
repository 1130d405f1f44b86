//! `olive doctor`: what this machine has. It looks, and changes nothing.

use super::{Globals, environment, output};
use clap::Args;
use olive_core::available::{self, Available, Machine};
use olive_core::event::{Event, EventSink};
use olive_core::{Fault, Result, device, shown};
use olive_runtime::library_file::PINNED;
use olive_runtime::{LibrarySearch, RuntimeError, preflight, threads};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// One finding: a name for programs, a label for people, what was found.
struct Finding {
    key: &'static str,
    label: &'static str,
    value: String,
}

pub(crate) fn run(args: &DoctorArgs, globals: &Globals) -> Result<()> {
    let findings = [
        finding("version", "olive", env!("CARGO_PKG_VERSION").into()),
        finding("build", "build", build()),
        finding("cpu", "CPU", cpu_features()),
        finding("threads", "threads", threads_found()),
        finding("memory", "memory", memory()),
        finding("onnxruntime", "ONNX Runtime", onnx_runtime(globals)),
        finding("pip", "pip", pip(globals)),
        finding("cuda", "CUDA", cuda()),
        finding("hub_cache", "hub cache", hub_cache(globals)),
        finding("hub_token", "hub token", hub_token(globals)),
        finding("own_cache", "own cache", own_cache()),
    ];
    if args.json {
        let map = findings.into_iter().map(|f| (f.key.to_owned(), f.value.into())).collect();
        return output::result(&serde_json::Value::Object(map).to_string());
    }
    let width = findings.iter().map(|f| f.label.len()).max().unwrap_or(0);
    let lines: Vec<String> = findings.iter().map(|f| format!("{:width$}  {}", f.label, f.value)).collect();
    output::result(&lines.join("\n"))
}

fn finding(key: &'static str, label: &'static str, value: String) -> Finding {
    Finding { key, label, value }
}

/// How the program was compiled.
pub(super) const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

fn build() -> String {
    let cuda = if device::built_with_cuda() { "with CUDA" } else { "CPU only" };
    format!("{PROFILE}, {cuda}, {}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(target_arch = "x86_64")]
pub(super) fn cpu_features() -> String {
    macro_rules! detected {
        ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let known = detected!("sse4.2" "avx" "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vnni" "avx512bf16");
    let found: Vec<&str> = known.into_iter().filter(|(_, found)| *found).map(|(name, _)| name).collect();
    let slow = if found.contains(&"avx2") && found.contains(&"fma") { "" } else { " (no AVX2: slow)" };
    format!("{}{slow}", found.join(" "))
}

#[cfg(target_arch = "aarch64")]
pub(super) fn cpu_features() -> String {
    macro_rules! detected {
        ($($name:tt)*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    let known = detected!("neon" "fp16" "dotprod" "i8mm" "bf16" "sve");
    known.into_iter().filter(|(_, found)| *found).map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn cpu_features() -> String {
    std::env::consts::ARCH.into()
}

fn threads_found() -> String {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{available} available, {} physical cores", threads::physical_cores())
}

/// The machine's, and what limits leave of it to this process.
fn memory() -> String {
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let Some(Machine { total, available }) = available::of_machine() else {
        return "unknown".into();
    };
    let mut text = format!("{:.1} GiB, {:.1} GiB available", gib(total), gib(available));
    let left = Available::now();
    // Between two looks, the machine's own changes a little.
    if let Some(memory) = left.memory.filter(|memory| memory + (1 << 28) < available) {
        let _ = write!(text, ", limited to {:.1} GiB here", gib(memory));
    }
    if let Some(addresses) = left.addresses {
        let _ = write!(text, ", {:.1} GiB of address space left", gib(addresses));
    }
    text
}

/// Gathers what the search passes over.
#[derive(Default)]
struct Remarks(Mutex<Vec<String>>);

impl EventSink for Remarks {
    fn emit(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(message);
        }
    }
}

pub(super) fn onnx_runtime(globals: &Globals) -> String {
    let search = environment::library_search(globals);
    let remarks = Remarks::default();
    let mut text = match search.find(&remarks) {
        Ok(Some(library)) => {
            format!("{} {}: {}", library.version, library.origin.describe(), shown(&library.path))
        }
        Ok(None) => not_found(&search),
        Err(error) => {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("unusable: {error}{hint}")
        }
    };
    for remark in remarks.0.into_inner().unwrap_or_default() {
        let _ = write!(text, "; {remark}");
    }
    text
}

fn not_found(search: &LibrarySearch) -> String {
    if !search.offline && search.wheel.is_some() && search.programs.pip().is_some() {
        return format!("not found; {PINNED} is fetched with pip when it is first needed");
    }
    let ways = RuntimeError::Offline.hint().unwrap_or_default();
    format!("not found (1.{} or newer is needed); {ways}", preflight::NEEDED_MINOR)
}

fn pip(globals: &Globals) -> String {
    let pip = environment::library_search(globals).programs.pip();
    pip.map_or_else(|| "not found".into(), |pip| format!("`{pip}`"))
}

fn cuda() -> String {
    if !device::built_with_cuda() {
        return "not in this build (build with `--features cuda`)".into();
    }
    match device::DeviceChoice::Cuda(0).open() {
        Ok(_) => "device 0 answers".into(),
        Err(error) => format!("built in, but no device answers: {error}"),
    }
}

fn hub_cache(globals: &Globals) -> String {
    let options = environment::source_options(globals);
    let models = std::fs::read_dir(&options.cache)
        .map(|entries| {
            let name = |e: std::io::Result<std::fs::DirEntry>| e.ok().map(|e| e.file_name());
            entries.filter_map(name).filter(|n| n.to_string_lossy().starts_with("models--")).count()
        })
        .unwrap_or(0);
    let offline = if options.offline { ", offline" } else { "" };
    let endpoint = options.endpoint.map(|endpoint| format!(", endpoint {endpoint}")).unwrap_or_default();
    format!("{} ({}{offline}{endpoint})", shown(&options.cache), counted(models, "model"))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Whether there is one; never the token.
fn hub_token(globals: &Globals) -> String {
    let present = environment::source_options(globals).token.is_some();
    if present { "present".into() } else { "none (only gated models need one: set HF_TOKEN)".into() }
}

fn own_cache() -> String {
    match environment::own_cache() {
        Some(dir) if Path::new(&dir).is_dir() => shown(&dir).to_string(),
        Some(dir) => format!("{} (not made yet)", shown(&dir)),
        None => "no home folder".into(),
    }
}
