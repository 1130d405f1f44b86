//! `olive generate`.

use super::answering::{AnsweringArgs, Notes, text_or_stdin};
use super::{Globals, output};
use clap::Args;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_runtime::Prompt;

#[derive(Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    answering: AnsweringArgs,
    /// What to answer; `-` reads it from stdin.
    #[arg(short, long, value_name = "TEXT")]
    prompt: String,
    /// Continue the prompt as it stands, without the model's chat template.
    #[arg(long, conflicts_with = "system")]
    raw: bool,
    /// Stop after this many tokens.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_new_tokens: usize,
    /// Print one JSON object with the text, its tokens and the figures, instead of streaming the text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &GenerateArgs, globals: &Globals) -> Result<()> {
    let prompt = text_or_stdin(&args.prompt)?;
    let notes = Notes::new(globals);
    let generator = args.answering.open(globals, &notes)?;
    let options = args.answering.sampling(generator.defaults());
    if !args.raw && !generator.has_chat_template() {
        notes.info("the model has no chat template: the prompt is continued as it stands");
    }
    let messages = args.answering.conversation(&prompt);
    let prompt = if args.raw || (messages.len() == 1 && !generator.has_chat_template()) {
        Prompt::Raw(&prompt)
    } else {
        Prompt::Chat(&messages)
    };
    let mut on_text = |piece: &str| if args.json { Ok(()) } else { output::piece(piece) };
    let mut sequence = generator.new_sequence()?;
    let answer = generator.answer(
        &mut sequence,
        prompt,
        &options,
        args.max_new_tokens,
        &CancelFlag::default(),
        &mut on_text,
    )?;
    let generation = &answer.generation;
    if args.json {
        output::result(
            &serde_json::json!({
                "text": answer.text,
                "ids": generation.ids,
                "prompt_ids": answer.prompt_ids,
                "finish": generation.finish,
                "prompt_tokens": generation.prompt_tokens,
                "seed": options.seed,
                "temperature": options.temperature,
                "time_to_first_token": generation.time_to_first_token.as_secs_f64(),
                "seconds": generation.total_time.as_secs_f64(),
                "tokens_per_second": generation.tokens_per_second(),
            })
            .to_string(),
        )?;
    } else if !answer.text.ends_with('\n') {
        output::piece("\n")?;
    }
    notes.statistics(generation);
    Ok(())
}
