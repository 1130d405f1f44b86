//! `docs/CONFIG.md`, made from the tables.

use crate::option::{Block, DefaultValue, Fate, Kind, Opt};
use crate::origin::Era;
use crate::read::registry::Registry;
use crate::tables::PASS_TYPES;

const INTRODUCTION: &str = "\
# The configuration

`olive run --config FILE` and `olive validate FILE` read JSON (`.json`) and YAML (`.yaml`, `.yml`). This page is made \
from the tables that the reader uses (`olive schema --markdown`); `olive schema` prints the JSON Schema for editors.

* Both grammars of Olive are read: that of 2024 (options nested in `config`, `params` and `engine`, `PyTorchModel` with \
`hf_config`, `lora_r`, `source_max_len`, `corpus_strategy`, `evaluation_strategy`) and today's (flat, `HfModel`, `r`, \
`max_seq_len`, `strategy`, `eval_strategy`), also mixed, and the shapes before (`data_configs` as an object, \
`params_config`, accelerators as texts, `model_loading_args`).
* Names are one and the same option in all their spellings. Only *defaults* depend on the era, block by block: a block \
with an option that only old files have gets the old defaults, else one with an option that only new files have gets \
the new defaults, else the type of the input model decides (`PyTorchModel`: old, `HfModel`: new). `olive validate` \
prints every value with its origin.
* Types of models, systems, passes and containers, and words with a choice, are read in any case. Numbers may be \
written as text. Null is the same as leaving the option out.
* An unknown key is an error. `$schema`, `metadata` and keys that begin with `x-` are free for your own use.
* Options that Olive has and this program does not need are accepted with a warning that says what happens instead. \
Where ignoring them would change the result, they are an error.
* Relative paths start at the working directory.
* `--set path.to.key=value` overrides a value: `--set passes.lora.r=16`, `--set \
data_configs.train.load_dataset_config.data_files=rows.jsonl`. List elements are addressed by number or by their \
`name`; the levels `config`, `params` and `engine` may be given or left out. The value is JSON, or else text.
* Models, adapters and data may lie in AzureML, and passes run there: [azure.md](azure.md).
* `--local` runs every pass on this machine, whatever `host` and `target` say.
";

/// The documentation of all options.
pub fn markdown<P: ?Sized>(registry: &Registry<P>) -> String {
    let mut text = INTRODUCTION.to_owned();
    for block in registry.all_blocks() {
        section(block, registry.page(block), &mut text);
    }
    text.replace(PASS_TYPES, &registry.in_words())
}

fn section(block: &Block, page: Option<&str>, text: &mut String) {
    text.push_str(&format!("\n## {}\n\n{}\n", title(block), block.doc));
    if let Some(page) = page {
        text.push_str(&format!("What it does is in [{page}]({page}).\n"));
    }
    if let Some(wrapper) = block.wrapper {
        text.push_str(&format!("Options may be nested in `{wrapper}`.\n"));
    }
    let (used, unused): (Vec<&Opt>, Vec<&Opt>) = block.options().partition(|opt| opt.fate == Fate::Honoured);
    if used.is_empty() && unused.is_empty() {
        text.push_str("\nIt has no options.\n");
    }
    if !used.is_empty() {
        text.push_str("\n| option | value | default | meaning |\n|---|---|---|---|\n");
        for opt in used {
            text.push_str(&row(opt));
        }
    }
    list(text, "Accepted, with no effect here", &unused, |opt| opt.fate == Fate::Quiet, |_| None);
    list(text, "Accepted with a warning", &unused, |opt| matches!(opt.fate, Fate::Ignored { .. }), reason);
    list(
        text,
        "Errors, because ignoring them would change the result",
        &unused,
        |opt| matches!(opt.fate, Fate::Refused { .. }),
        reason,
    );
    if let Some(why) = block.open {
        text.push_str(&format!("\nOther keys are accepted with a warning: {why}.\n"));
    }
}

fn title(block: &Block) -> String {
    match block.name {
        "the configuration" => "Top level and `engine`".into(),
        "the input model" => format!(
            "`input_model`: {}",
            if block.doc.contains("ONNX") { "ONNXModel" } else { "HfModel, PyTorchModel" }
        ),
        "the data config" => "`data_configs`".into(),
        "the accelerator" => "`accelerators`".into(),
        "the evaluator" => "`evaluators`".into(),
        "the metric" => "`metrics` of an evaluator".into(),
        "the sub type" => "`sub_types` of a metric".into(),
        "the goal" => "`goal` of a sub type".into(),
        "the dummy data" => "Dummy data".into(),
        name if name.ends_with("Evaluator") => format!("Evaluator `{name}`"),
        name if name.chars().any(char::is_uppercase) => {
            let kind =
                if block.outer.iter().any(|opt| opt.name == "disable_search") { "Pass" } else { "System" };
            format!("{kind} `{name}`")
        }
        name => format!("`{name}`"),
    }
}

fn row(opt: &Opt) -> String {
    let others: Vec<String> = opt.spellings().skip(1).map(|(name, _)| format!("`{name}`")).collect();
    let names = match others.as_slice() {
        [] => format!("`{}`", opt.name),
        _ => format!("`{}` ({})", opt.name, others.join(", ")),
    };
    let default = if opt.old_default == opt.new_default {
        default(opt.default_in(Era::New))
    } else {
        format!("old {}, new {}", default(opt.default_in(Era::Old)), default(opt.default_in(Era::New)))
    };
    format!("| {names} | {} | {default} | {} |\n", value(&opt.kind), opt.doc.replace('|', "\\|"))
}

fn default(default: DefaultValue) -> String {
    match default {
        DefaultValue::Null => "–".into(),
        DefaultValue::Json(json) => format!("`{json}`"),
        DefaultValue::Required => "required".into(),
    }
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Block(block) => format!("an object, see {}", title(block)),
        Kind::Blocks(block) => format!("a list of objects, see {}", title(block)),
        Kind::Special(special) => special.value.to_owned(),
        kind => kind.expected(),
    }
}

fn reason(opt: &Opt) -> Option<String> {
    match opt.fate {
        Fate::Ignored { neutral: None, why } => Some(why.to_owned()),
        Fate::Ignored { neutral: Some(neutral), why } => Some(format!("{why} (no warning for {neutral})")),
        Fate::Refused { neutral: "null", why } => Some(why.to_owned()),
        Fate::Refused { neutral, why } => Some(format!("{why} (only {neutral} is possible)")),
        Fate::Honoured | Fate::Quiet => None,
    }
}

/// A bullet list of the options that fit, those with the same reason together.
fn list(
    text: &mut String,
    heading: &str,
    options: &[&Opt],
    fits: impl Fn(&Opt) -> bool,
    reason: impl Fn(&Opt) -> Option<String>,
) {
    let mut groups: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for opt in options.iter().filter(|opt| fits(opt)) {
        let names = opt.spellings().map(|(name, _)| format!("`{name}`"));
        let reason = reason(opt);
        match groups.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, group)) => group.extend(names),
            None => groups.push((reason, names.collect())),
        }
    }
    if groups.is_empty() {
        return;
    }
    text.push_str(&format!("\n{heading}:\n\n"));
    for (reason, names) in groups {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        text.push_str(&format!("* {}{reason}\n", names.join(", ")));
    }
}
