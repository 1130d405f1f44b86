//! What the environment says. Nothing below `cli` reads it.

use super::Globals;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::device::{DeviceChoice, built_with_cuda};
use olive_core::secrets;
use olive_engine::cache::Store;
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, ForeignFiles, Mlflow, ResourceReader, Tracking};
use olive_model::{Conversions, SourceOptions};
use olive_runtime::{LibrarySearch, Programs, RuntimeError, Wheel};
use olive_systems::azureml::{AzureMlResources, AzureMlSettings, LARGEST_FETCHED, OnInterrupt, PlainHttp};
use olive_tracking::{MlflowSettings, TrackingError};
use olive_train::wandb::WandbSettings;
use std::path::PathBuf;
use std::sync::Arc;

/// A variable that is set and not empty.
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name)?;
    Some(PathBuf::from(value)).filter(|path| !path.to_string_lossy().trim().is_empty())
}

/// Whether a variable is set to something that means yes.
fn flag(name: &str) -> bool {
    var(name).is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

/// Folders that a variable names whatever the working folder is: relative ones would be anybody's.
fn absolute(name: &str) -> Option<PathBuf> {
    path(name).filter(|path| path.is_absolute())
}

/// The folder of the user.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

fn user_cache() -> Option<PathBuf> {
    absolute("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))
}

/// Where this program keeps what it fetches for itself.
pub(crate) fn own_cache() -> Option<PathBuf> {
    user_cache().map(|dir| dir.join("olive"))
}

/// `--offline`, which `--sandbox` implies.
pub(crate) fn is_offline(globals: &Globals) -> bool {
    globals.offline || globals.sandbox
}

/// Where ONNX Runtime may be.
pub(crate) fn library_search(globals: &Globals) -> LibrarySearch {
    // In the sandbox nothing else is started.
    let path_of_programs = std::env::var_os("PATH").filter(|_| !globals.sandbox).unwrap_or_default();
    let programs = Programs::of_path(&path_of_programs);
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(absolute);
    LibrarySearch {
        env: path("ORT_DYLIB_PATH"),
        option: globals.ort_lib.clone(),
        exe_dir: std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())),
        cache: own_cache(),
        python_prefixes: active.chain(own_python_prefix()).collect(),
        programs,
        wheel: Wheel::of_this_machine(),
        offline: is_offline(globals),
    }
}

/// The Python environment that this program is installed in (PEP 405), active or not.
fn own_python_prefix() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let prefix = program.parent()?.parent()?;
    prefix.join("pyvenv.cfg").is_file().then(|| prefix.to_owned())
}

/// Folders that the library may be loaded from.
pub(crate) fn library_folders(globals: &Globals) -> Vec<PathBuf> {
    let LibrarySearch { env, option, exe_dir, cache, python_prefixes, .. } = library_search(globals);
    let of_file = |path: PathBuf| if path.is_dir() { Some(path) } else { Some(path.parent()?.to_owned()) };
    let named = env.into_iter().chain(option).filter_map(of_file);
    named.chain(exe_dir).chain(cache).chain(python_prefixes).collect()
}

/// How jobs of Azure ML are sent. `program` is what they run, if not this program.
pub(crate) fn azure_ml(
    globals: &Globals,
    program: Option<PathBuf>,
    on_interrupt: OnInterrupt,
) -> AzureMlSettings {
    // For tests against a service on this machine.
    let plain_http = if flag("OLIVE_AZUREML_ALLOW_HTTP") { PlainHttp::Loopback } else { PlainHttp::Refused };
    AzureMlSettings {
        variables: olive_systems::azureml::Environment::of_process(),
        plain_http,
        program: program.or_else(|| std::env::current_exe().ok()),
        device: globals.device().to_owned(),
        on_interrupt,
        // For tests: nobody wants to move gigabytes in them.
        largest_fetched: var("OLIVE_AZUREML_LARGEST_FETCHED")
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or(LARGEST_FETCHED),
    }
}

/// What brings models and data of Azure ML here.
pub(crate) fn resources(globals: &Globals) -> Option<Box<dyn ResourceReader>> {
    let settings = || azure_ml(globals, None, OnInterrupt::default());
    (!is_offline(globals)).then(|| Box::new(AzureMlResources::new(settings())) as Box<dyn ResourceReader>)
}

/// Where trainings are logged.
pub(crate) fn tracking(globals: &Globals) -> Tracking {
    let mlflow = match MlflowSettings::of(var) {
        Ok(_) if is_offline(globals) => Mlflow::Unusable(TrackingError::Offline),
        Ok(settings) => Mlflow::Server(settings),
        Err(error) => Mlflow::Unusable(error),
    };
    Tracking { mlflow, wandb: WandbSettings::of(var) }
}

/// Where the hub's tools keep everything.
fn hub_home() -> PathBuf {
    path("HF_HOME").or_else(|| Some(user_cache()?.join("huggingface"))).unwrap_or_default()
}

/// Where the hub's tools keep the token.
pub(crate) fn token_file() -> PathBuf {
    path("HF_TOKEN_PATH").unwrap_or_else(|| hub_home().join("token"))
}

/// Whether the environment names a token, which comes before a stored one.
pub(crate) fn has_token_variable() -> bool {
    var("HF_TOKEN").is_some()
}

/// How the hub may be used, by the variables that all its tools know.
pub(crate) fn source_options(globals: &Globals) -> SourceOptions {
    let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
    let stored = || {
        if var("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some() {
            return None;
        }
        let text = std::fs::read_to_string(token_file()).ok()?;
        let token = Some(text.trim().to_owned()).filter(|token| !token.is_empty());
        token.inspect(|token| secrets::keep(token))
    };
    SourceOptions {
        offline: is_offline(globals) || flag("HF_HUB_OFFLINE"),
        cache: cache.unwrap_or_else(|| hub_home().join("hub")),
        token: var("HF_TOKEN").map(|token| token.trim().to_owned()).or_else(stored),
        endpoint: var("HF_ENDPOINT"),
        cancel: CancelFlag::default(),
        conversions: own_cache().map(|dir| Arc::new(Store::new(&dir)) as Arc<dyn Conversions>),
        read_only: false,
    }
}

/// The name of this machine, where it can be found out.
pub(crate) fn host() -> Option<String> {
    let kept = ["/proc/sys/kernel/hostname", "/etc/hostname"].into_iter();
    let mut names = kept.filter_map(|path| std::fs::read_to_string(path).ok()).chain(var("HOSTNAME"));
    names.find_map(|name| Some(name.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// `--device`.
pub(crate) fn device(globals: &Globals) -> Result<DeviceChoice> {
    let refuse = |reason| RuntimeError::Device { given: globals.device().to_owned(), reason };
    match globals.device().parse().map_err(refuse)? {
        DeviceChoice::Cuda(_) if !built_with_cuda() => {
            Err(refuse("this build has no CUDA; `cargo build --release --features cuda` makes one").into())
        }
        choice => Ok(choice),
    }
}

/// Hides what is secret in the environment, whoever repeats it: values of variables that are called so, and what stands
/// before the host in an address.
pub(crate) fn keep_secrets() {
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if secrets::is_secret(&name) {
            secrets::keep(&value);
        }
        secrets::keep_address(&value);
    }
}

/// What the engine may use, for questions that nobody waits for long or wants to hear of.
pub(crate) fn of_the_engine(globals: &Globals, memory: MemoryPolicy) -> Result<Environment> {
    Ok(Environment {
        source: source_options(globals),
        device: device(globals)?,
        memory,
        library: library_search(globals),
        host: host(),
        home: home(),
        foreign_files: ForeignFiles::default(),
        executors: Vec::new(),
        resources: resources(globals),
        tracking: tracking(globals),
        cancel: CancelFlag::default(),
        events: Arc::default(),
    })
}
