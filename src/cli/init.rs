//! `olive init`.

use super::data::loader;
use super::init_answers::{Answers, DataAnswer};
use super::init_summary::{self, Surveyed};
use super::session::Session;
use super::{Globals, output, questions};
use clap::{Args, ValueEnum};
use olive_config::LoadOptions;
use olive_core::Result;
use olive_data::{load_rows, survey};
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, REGISTRY, RunConfig};
use olive_model::{ModelFolder, resolve};
use olive_project::{
    Columns, DataPart, Existing, Layout, Method, Outcome, Proposal, TextPart, Trained, TrainingPart,
    parameters, place_of_data, place_of_model, prospect,
};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct InitArgs {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// The model: a folder, a GGUF file, or a hub id, which is fetched into `model-cache`.
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// The rows to learn from: JSON lines, JSON, CSV, Parquet or text.
    #[arg(long, value_name = "FILE", conflicts_with = "no_data")]
    pub(super) data: Option<PathBuf>,
    /// Train nothing: only convert the model.
    #[arg(long)]
    pub(super) no_data: bool,
    /// The column with what is asked.
    #[arg(long, value_name = "COLUMN", requires = "answer")]
    pub(super) question: Option<String>,
    /// The column with what is to be answered.
    #[arg(long, value_name = "COLUMN", requires = "question")]
    pub(super) answer: Option<String>,
    /// The column with texts that are learned as they are.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["question", "answer"])]
    pub(super) text: Option<String>,
    /// How columns make a text: `{title}: {body}`.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["question", "answer", "text"])]
    pub(super) template: Option<String>,
    /// What a run is to make.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(super) result: Option<ResultKind>,
    /// How it is trained; without it, with LoRA if that fits into memory.
    #[arg(long, value_enum, value_name = "METHOD")]
    pub(super) method: Option<MethodName>,
    /// End the training after so many steps.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_steps: Option<u32>,
    /// Ask nothing: what is not said is what would be proposed.
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Write a project anew that is there already.
    #[arg(long)]
    pub(super) overwrite: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultKind {
    /// An ONNX model in 4 bits.
    Int4,
    /// An ONNX model in float32.
    Float32,
    /// A Hugging Face folder.
    Merged,
    /// A PEFT adapter.
    Adapter,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodName {
    Lora,
    Qlora,
}

impl ResultKind {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            ResultKind::Int4 => Outcome::Int4,
            ResultKind::Float32 => Outcome::Float32,
            ResultKind::Merged => Outcome::Merged,
            ResultKind::Adapter => Outcome::Adapter,
        }
    }
}

pub(crate) fn run(args: &InitArgs, globals: &Globals) -> Result<()> {
    let session = Session::start(globals, 1)?;
    let environment = session.environment(globals, MemoryPolicy::Refuse);
    let answers = Answers::gather(args, &environment, session.events())?;
    let options = environment.source.clone();
    let model = ModelFolder::open(&resolve(&answers.model, None, &options, session.events())?)?;
    let trained = match &answers.data {
        DataAnswer::None => None,
        DataAnswer::File(file) => Some(Rows::read(&answers, file, args, &model, &environment)?),
    };
    let draft = draft(&answers, trained.as_ref().map(|rows| rows.trained.clone()), args, &environment);
    let asked = args.method.map(method);
    let prospect = prospect(draft, asked, &model, &environment)?;
    drop(session);
    let layout = layout(&answers, prospect.proposal.clone(), args)?;
    let surveyed = trained.map(|rows| rows.surveyed);
    output::result(&init_summary::summary(&model, surveyed.as_ref(), &prospect, &layout))?;
    if answers.asks && !questions::confirm("Write this project?")? {
        return output::result("nothing is written");
    }
    let existing = if args.overwrite { Existing::Replace } else { Existing::Keep };
    let written = layout.write(existing)?;
    output::result(&init_summary::ending(&layout, &written))
}

/// The rows of a project, and what is made of them.
struct Rows {
    trained: Trained,
    surveyed: Surveyed,
}

impl Rows {
    fn read(
        answers: &Answers,
        file: &Path,
        args: &InitArgs,
        model: &ModelFolder,
        environment: &Environment,
    ) -> Result<Rows> {
        let context = model.spec()?.context_length;
        let size = parameters(model).unwrap_or(u64::MAX);
        let part = |text: TextPart, block: usize| DataPart {
            reader: loader(file).to_owned(),
            file: absolute(file),
            text,
            block,
            skips_bad_rows: false,
        };
        let config_of = |data: &DataPart| {
            let training = TrainingPart::for_data(size, 1);
            let trained = Trained { data: data.clone(), training };
            let config = draft(answers, Some(trained), args, environment).configuration();
            RunConfig::from_value(&config, Path::new("olive-config.json"), &LoadOptions::default(), &REGISTRY)
        };
        // Which text is made of rows does not matter yet.
        let config = config_of(&part(TextPart::Column(String::from("text")), context))?;
        let load = |config: &RunConfig| {
            config.passes.iter().find_map(|pass| Some(pass.pass.data().first()?.config.clone()))
        };
        let Some(data) = load(&config) else { return Err(super::init_answers::no_rows(file)) };
        let columns = Columns::of(&load_rows(&data.load)?);
        let shape = answers.shape(&columns, args)?;
        shape.check(&columns.texts)?;
        let text = TextPart::of(&shape, model)?;
        let config = config_of(&part(text.clone(), context))?;
        let Some(data) = load(&config) else { return Err(super::init_answers::no_rows(file)) };
        let survey = survey(&data, model, 0, &(), &environment.cancel)?;
        let block = text.block(&survey.lengths, context);
        let samples = match &text {
            TextPart::Column(_) => survey.lengths.iter().sum::<usize>() / block,
            _ => survey.lengths.len(),
        };
        let training = TrainingPart {
            method: args.method.map_or(Method::Lora, method),
            max_steps: args.max_steps.map(|steps| steps as usize),
            ..TrainingPart::for_data(size, samples)
        };
        let data = DataPart { skips_bad_rows: !survey.bad.is_empty(), ..part(text, block) };
        let surveyed = Surveyed {
            rows: survey.rows,
            bad: survey.bad.len(),
            tokens: survey.lengths.iter().sum(),
            counted: survey.counted,
            longest: survey.lengths.iter().max().copied().unwrap_or(0),
            cut: survey.lengths.iter().filter(|length| **length > block).count(),
            shape,
        };
        Ok(Rows { trained: Trained { data, training }, surveyed })
    }
}

/// The configuration with the paths of this machine.
fn draft(
    answers: &Answers,
    trained: Option<Trained>,
    args: &InitArgs,
    environment: &Environment,
) -> Proposal {
    Proposal {
        model: answers.model.clone(),
        trained,
        outcome: answers.outcome,
        device: environment.device,
        output_dir: absolute(&args.dir.join(answers.output())),
    }
}

/// The project with the paths that it has from its root.
fn layout(answers: &Answers, mut proposal: Proposal, args: &InitArgs) -> Result<Layout> {
    proposal.model = place_of_model(&args.dir, &answers.model);
    proposal.output_dir = answers.output();
    let mut copied = None;
    if let (DataAnswer::File(file), Some(trained)) = (&answers.data, proposal.trained.as_mut()) {
        let (place, is_copied) = place_of_data(&args.dir, file)?;
        trained.data.file = place;
        copied = is_copied.then(|| file.clone());
    }
    Ok(Layout { root: args.dir.clone(), proposal, copied, program: "olive".into() })
}

fn method(name: MethodName) -> Method {
    match name {
        MethodName::Lora => Method::Lora,
        MethodName::Qlora => Method::Qlora,
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
