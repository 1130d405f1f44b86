//! `olive serve`.

use super::answering::{ModelArgs, Notes};
use super::{Globals, output};
use clap::{Args, ValueHint};
use olive_core::error::IoContext;
use olive_core::event::{Event, EventSink};
use olive_core::{Result, file, secrets};
use olive_serve::{Access, Limits, ModelNames, ServeError, ServeOptions, Shutdown, Times, serve};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The variable that the key is read from.
const KEY_VARIABLE: &str = "OLIVE_API_KEY";

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// A Hugging Face folder, a GGUF file, an adapter folder, an ONNX folder, what `olive run` wrote, or a hub id.
    #[arg(value_hint = ValueHint::AnyPath)]
    model: String,
    /// Another model beside it, of any form, which clients choose by this name. May be given several times.
    #[arg(long = "model", value_name = "NAME=PATH", value_parser = named)]
    others: Vec<(String, String)>,
    /// An adapter for MODEL, if that is an ONNX model: an `.onnx_adapter` file or a folder with one, which clients choose by
    /// this name. May be given several times.
    #[arg(long = "adapter", value_name = "NAME=PATH", value_parser = named)]
    adapters: Vec<(String, String)>,
    /// Run MODEL without the adapter that lies beside it.
    #[arg(long)]
    no_adapter: bool,
    /// The model under adapter folders, if it is not where they say.
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// What clients call MODEL; its folder's name, without this.
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Answer programs only, without the page at `/`.
    #[arg(long)]
    no_page: bool,
    /// Write prompts and answers into the log.
    #[arg(long)]
    log_prompts: bool,
}

#[derive(Args)]
struct NetworkArgs {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// A key that clients must give. Other users of the machine can read it here: better set OLIVE_API_KEY.
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// A file with keys, one a line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    api_key_file: Option<PathBuf>,
    /// Let everybody who reaches the address use the model, without a key.
    #[arg(long)]
    insecure: bool,
    /// Let web pages of this origin ask, such as https://example.com. May be given several times.
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<String>,
    /// Without a key, answer also to requests for this name of the machine. May be given several times.
    #[arg(long = "allowed-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
}

#[derive(Args)]
struct LimitArgs {
    /// Answers of each model that are computed at the same time; what fits into memory, at most 8, without this.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_sequences: Option<usize>,
    /// Requests that wait for their turn; more are refused.
    #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
    max_queue: usize,
    /// Tokens of a prompt and its answer; those of each model, at most 8192, without this.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    context_length: Option<usize>,
    /// Bytes of a request.
    #[arg(long, value_name = "BYTES", default_value = "2097152", value_parser = at_least_one)]
    max_body: usize,
    /// Choices that a request may ask for.
    #[arg(long, value_name = "N", default_value = "8", value_parser = at_least_one)]
    max_choices: usize,
    /// Compute every prompt from its beginning.
    #[arg(long)]
    no_prefix_cache: bool,
}

/// `NAME=PATH`
fn named(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.to_owned())),
        _ => Err("it is not of the form NAME=PATH".into()),
    }
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "it must be a whole number from 1 on".into())
}

pub(crate) fn run(args: &ServeArgs, globals: &Globals) -> Result<()> {
    if globals.sandbox {
        return Err(ServeError::Sandbox.into());
    }
    let notes = Notes::new(globals);
    let options = args.options()?;
    let shutdown = on_interrupt(notes.hub());
    let models = args.models();
    let mut load = |index: usize| models[index].open(globals, &notes);
    let mut announce = |address: SocketAddr| output::result(&format!("http://{address}"));
    serve(options, &mut load, &mut announce, notes.hub(), &shutdown)
}

impl ServeArgs {
    /// MODEL, and those beside it.
    fn models(&self) -> Vec<ModelArgs> {
        let first = ModelArgs {
            model: self.model.clone(),
            adapter: None,
            no_adapter: self.no_adapter,
            base: self.base.clone(),
        };
        let others = self.others.iter().map(|(_, model)| ModelArgs {
            model: model.clone(),
            adapter: None,
            no_adapter: false,
            base: self.base.clone(),
        });
        std::iter::once(first).chain(others).collect()
    }

    /// What clients call them.
    fn names(&self) -> Vec<ModelNames> {
        let name = self.served_model_name.clone().unwrap_or_else(|| folder_name(&self.model));
        let adapters = self.adapters.iter().map(|(name, path)| (name.clone(), path.into())).collect();
        let first = ModelNames { name, adapters };
        let others =
            self.others.iter().map(|(name, _)| ModelNames { name: name.clone(), adapters: Vec::new() });
        std::iter::once(first).chain(others).collect()
    }

    fn options(&self) -> Result<ServeOptions> {
        let (network, limits) = (&self.network, &self.limits);
        Ok(ServeOptions {
            address: SocketAddr::new(network.host, network.port),
            models: self.names(),
            access: Access {
                keys: network.keys()?,
                insecure: network.insecure,
                origins: network.cors_origins.clone(),
                hosts: network.allowed_hosts.clone(),
            },
            limits: Limits {
                sequences: limits.max_sequences,
                queue: limits.max_queue,
                context: limits.context_length,
                body: limits.max_body,
                choices: limits.max_choices,
                prefix_cache: !limits.no_prefix_cache,
            },
            times: Times::default(),
            page: !self.no_page,
            log_prompts: self.log_prompts,
        })
    }
}

impl NetworkArgs {
    /// All keys, from wherever they are given. No log shows one.
    fn keys(&self) -> Result<Vec<String>> {
        // What is no text is no key, and the server refuses it.
        let variable = std::env::var_os(KEY_VARIABLE).map(|key| key.to_string_lossy().into_owned());
        let variable = variable.filter(|key| !key.is_empty());
        let mut keys: Vec<String> = self.api_key.iter().cloned().chain(variable).collect();
        if let Some(path) = &self.api_key_file {
            let text = file::read_to_string(path).at("read", path)?;
            keys.extend(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
        }
        keys.iter().for_each(|key| secrets::keep(key));
        Ok(keys)
    }
}

/// `models/smollm2/` → `smollm2`; a hub id as it is.
fn folder_name(model: &str) -> String {
    let path = Path::new(model);
    let whole = path.canonicalize().ok();
    let name = whole.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| model.to_owned())
}

/// The first Ctrl-C or SIGTERM lets answers under way end; the second does not wait for them.
#[expect(clippy::exit, reason = "the second signal; the server writes no files")]
fn on_interrupt(events: std::sync::Arc<impl EventSink + Send + 'static>) -> Shutdown {
    let shutdown = Shutdown::default();
    let raised = shutdown.clone();
    let installed = ctrlc::set_handler(move || {
        if raised.is_raised() {
            std::process::exit(130);
        }
        raised.raise();
        events.emit(Event::Info {
            message: "answers under way have ten seconds; another signal stops at once".into(),
        });
    });
    if let Err(error) = installed {
        tracing::debug!("signals end the program at once: {error}");
    }
    shutdown
}
