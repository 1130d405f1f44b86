//! What `generate` and `chat` have in common: options, opening the model, notes beside the answer.

use super::{Globals, LogFormat, environment, output, session};
use clap::{Args, ValueHint};
use olive_core::event::{Event, EventSink};
use olive_core::event_hub::EventHub;
use olive_core::handle::ModelHandle;
use olive_core::{Result, shown};
use olive_data::Message;
use olive_decoder::{Generation, SamplingOptions};
use olive_model::{detect, resolve};
use olive_runtime::{ActiveAdapter, Generator};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which model.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// A Hugging Face folder, a GGUF file, an adapter folder, an ONNX folder, what `olive run` wrote, or a hub id.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,
    /// The adapter to put on the model: a folder of PEFT's, or for an ONNX model an `.onnx_adapter` file or a folder with
    /// one. Without this, one that lies beside an ONNX model is used.
    #[arg(long, value_name = "PATH")]
    pub(crate) adapter: Option<PathBuf>,
    /// Run the model without the adapter that lies beside it.
    #[arg(long, conflicts_with = "adapter")]
    pub(crate) no_adapter: bool,
    /// The model under an adapter folder, if it is not where the adapter says.
    #[arg(long, value_name = "DIR", conflicts_with = "adapter")]
    pub(crate) base: Option<PathBuf>,
}

/// The model and how it answers.
#[derive(Args)]
pub(crate) struct AnsweringArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Instructions that come before the conversation.
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Randomness of the choice; 0 always takes the most probable token.
    #[arg(long, value_name = "T", value_parser = not_negative)]
    pub(crate) temperature: Option<f64>,
    /// Choose among the most probable tokens that make up this probability together.
    #[arg(long, value_name = "P", value_parser = probability)]
    pub(crate) top_p: Option<f64>,
    /// Choose among this many tokens.
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Makes the choice repeatable.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Above 1, tokens that were said already become less probable.
    #[arg(long, value_name = "X", value_parser = positive)]
    pub(crate) repetition_penalty: Option<f64>,
}

fn number(text: &str) -> std::result::Result<f64, String> {
    text.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(|| "it is not a number".into())
}

fn not_negative(text: &str) -> std::result::Result<f64, String> {
    number(text).and_then(|x| if x >= 0.0 { Ok(x) } else { Err("it must be 0 or more".into()) })
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    number(text).and_then(|x| if x > 0.0 { Ok(x) } else { Err("it must be more than 0".into()) })
}

fn probability(text: &str) -> std::result::Result<f64, String> {
    let inside = |x: &f64| *x > 0.0 && *x <= 1.0;
    number(text).and_then(|x| Some(x).filter(inside).ok_or_else(|| "it must be in (0, 1]".into()))
}

impl ModelArgs {
    /// Finds the model's form and loads it.
    pub(crate) fn open(&self, globals: &Globals, notes: &Notes) -> Result<Generator> {
        let events = &*notes.events;
        let device = environment::device(globals)?.open()?;
        let options = environment::source_options(globals);
        let dir = resolve(&self.model, None, &options, events)?;
        let (handle, active) =
            self.adapter().put_on(detect(&dir, self.base.as_deref(), &options, events)?, &self.model)?;
        if globals.verbose {
            notes.info(&match &handle {
                ModelHandle::HfWithAdapter { base, adapter } => {
                    format!("adapter `{}` on the model `{}`", shown(adapter), shown(base))
                }
                other => format!("`{}` is {}", shown(other.dir()), other.describe()),
            });
        }
        if let (ModelHandle::Onnx { dir }, ActiveAdapter::Beside) = (&handle, &active)
            && let Some(file) = active.file(dir)
        {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            notes.info(&format!("with `{name}`, which lies beside the model; --no-adapter runs it without"));
        }
        let library = || {
            let library = environment::library_search(globals).find_or_fetch(events)?;
            if globals.verbose {
                let (path, origin) = (shown(&library.path), library.origin.describe());
                notes.info(&format!("ONNX Runtime {} {origin}: {path}", library.version));
            }
            Ok(library)
        };
        Generator::open(&handle, &active, &device, &library)
    }

    /// The adapter that was asked for.
    fn adapter(&self) -> ActiveAdapter {
        match &self.adapter {
            Some(path) => ActiveAdapter::At(path.clone()),
            None if self.no_adapter => ActiveAdapter::Off,
            None => ActiveAdapter::Beside,
        }
    }
}

impl AnsweringArgs {
    /// See [`ModelArgs::open`].
    pub(crate) fn open(&self, globals: &Globals, notes: &Notes) -> Result<Generator> {
        let generator = self.model.open(globals, notes)?;
        if let [_, ..] = generator.ignored_settings() {
            let settings = generator.ignored_settings().join(", ");
            let message = format!("the model's configuration asks for what is not done here: {settings}");
            notes.events.emit(Event::Warning { message });
        }
        Ok(generator)
    }

    /// A conversation that begins with `--system`, if given, and this.
    pub(crate) fn conversation(&self, user: &str) -> Vec<Message> {
        let system = self.system.iter().map(|text| message("system", text));
        system.chain(std::iter::once(message("user", user))).collect()
    }

    /// The model's defaults, changed by what was asked for. Any of temperature, top-p and top-k turns sampling on.
    pub(crate) fn sampling(&self, defaults: SamplingOptions) -> SamplingOptions {
        let asked = self.top_p.is_some() || self.top_k.is_some();
        let fallback = if asked && defaults.temperature == 0.0 { 1.0 } else { defaults.temperature };
        SamplingOptions {
            temperature: self.temperature.unwrap_or(fallback),
            top_k: self.top_k.or(defaults.top_k),
            top_p: self.top_p.or(defaults.top_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            seed: self.seed.unwrap_or(defaults.seed),
        }
    }
}

/// A turn of a conversation.
pub(crate) fn message(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into() }
}

/// What is told beside the answer, on stderr.
pub(crate) struct Notes {
    events: Arc<EventHub>,
    quiet: bool,
    json: bool,
}

impl Notes {
    pub(crate) fn new(globals: &Globals) -> Notes {
        let json = globals.log_format == LogFormat::Json;
        Notes { events: session::sink(globals), quiet: globals.quiet, json }
    }

    /// Where all that is not the answer goes.
    pub(crate) fn hub(&self) -> Arc<EventHub> {
        Arc::clone(&self.events)
    }

    pub(crate) fn info(&self, message: &str) {
        // JSON lines are for programs, which may ignore what they like; a person asked for quiet.
        if !self.quiet {
            self.events.emit(Event::Info { message: message.into() });
        }
    }

    /// How many tokens, how fast.
    pub(crate) fn statistics(&self, generation: &Generation) {
        if self.quiet {
            return;
        }
        let first = generation.time_to_first_token.as_secs_f64();
        let (prompt, new) = (generation.prompt_tokens, generation.ids.len());
        let speed = generation.tokens_per_second();
        if self.json {
            output::note(
                &serde_json::json!({
                    "event": "generated", "prompt_tokens": prompt, "reused_tokens": generation.reused_tokens,
                    "new_tokens": new, "finish": generation.finish, "time_to_first_token": first,
                    "seconds": generation.total_time.as_secs_f64(), "tokens_per_second": speed,
                })
                .to_string(),
            );
            return;
        }
        let speed = speed.map_or(String::new(), |speed| format!(" at {speed:.1} tokens/s"));
        output::note(&format!(
            "[{prompt} prompt tokens, first token after {first:.2} s, {new} tokens{speed}]"
        ));
    }
}

/// A prompt given as `-` is read from stdin.
pub(crate) fn text_or_stdin(text: &str) -> Result<String> {
    use olive_core::error::IoContext;
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut read).at("read", Path::new("stdin"))?;
    Ok(read.strip_suffix('\n').map_or(read.clone(), str::to_owned))
}
