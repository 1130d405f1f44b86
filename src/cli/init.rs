//! `olive init`.

use super::data::loader;
use super::init_answers::{Answers, DataAnswer, no_rows};
use super::init_args::{InitArgs, MethodName};
use super::init_summary::{self, Surveyed};
use super::session::Session;
use super::{Globals, output, questions};
use crate::report::own_name;
use olive_config::LoadOptions;
use olive_core::{Error, Result};
use olive_data::{load_rows, survey};
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, REGISTRY, RunConfig};
use olive_model::{ModelFolder, resolve};
use olive_project::{
    Columns, DataPart, Existing, Layout, Method, Proposal, TextPart, Trained, TrainingPart, parameters,
    place_of_data, place_of_model, prospect, refuse_existing,
};
use std::path::Path;

pub(crate) fn run(args: &InitArgs, globals: &Globals) -> Result<()> {
    let existing = if args.overwrite { Existing::Replace } else { Existing::Keep };
    refuse_existing(&args.dir, existing)?;
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
    let asked = args.method.map(MethodName::method);
    let prospect = prospect(draft, asked, &model, &environment)?;
    drop(session);
    let layout = layout(&answers, prospect.proposal.clone(), args)?;
    let surveyed = trained.map(|rows| rows.surveyed);
    output::result(&init_summary::summary(&model, surveyed.as_ref(), &prospect, &layout))?;
    if answers.asks && !questions::confirm("Write this project?")? {
        return output::result("nothing is written");
    }
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
        let mut field = args.field.clone();
        let part = |text: TextPart, block: usize, field: &Option<String>| DataPart {
            reader: loader(file).to_owned(),
            file: absolute(file),
            field: field.clone(),
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
        let data_of = |data: &DataPart| {
            let config = config_of(data)?;
            let used = config.passes.iter().find_map(|pass| Some(pass.pass.data().first()?.config.clone()));
            used.ok_or_else(|| no_rows(file))
        };
        // Which text is made of rows does not matter yet.
        let any = TextPart::Column(String::from("text"));
        let columns_of = |field: &Option<String>| {
            let data = data_of(&part(any.clone(), context, field))?;
            Ok::<_, Error>(Columns::of(&load_rows(&data.load)?))
        };
        let mut columns = columns_of(&field)?;
        if field.is_none() && columns.wrapped_in.is_some() {
            field = columns.wrapped_in;
            columns = columns_of(&field)?;
        }
        let shape = answers.shape(&columns, args)?;
        shape.check(&columns.texts)?;
        let text = TextPart::of(&shape, model)?;
        let data = data_of(&part(text.clone(), context, &field))?;
        let survey = survey(&data, model, 0, &(), &environment.cancel)?;
        let block = text.block(&survey.lengths, context);
        let samples = match &text {
            TextPart::Column(_) => survey.lengths.iter().sum::<usize>() / block,
            _ => survey.lengths.len(),
        };
        let training = TrainingPart {
            method: args.method.map_or(Method::Lora, MethodName::method),
            max_steps: args.max_steps.map(|steps| steps as usize),
            ..TrainingPart::for_data(size, samples)
        };
        let data = DataPart { skips_bad_rows: !survey.bad.is_empty(), ..part(text, block, &field) };
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
    Ok(Layout { root: args.dir.clone(), proposal, copied, program: own_name::called().to_owned() })
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
