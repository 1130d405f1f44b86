//! The options of LoRA, QLoRA and LoftQ.

use super::passes::{Context, PassRead};
use super::training::training;
use crate::fields::Fields;
use crate::findings::Findings;
use crate::node::{Node, Value};
use crate::value::number;
use crate::values::Values;
use crate::{
    Era, EvalSize, LoftqOptions, LoraOptions, PassOptions, QloraOptions, QuantType, ResolvedOption, Targets,
};
use serde_json::{Value as Json, json};

pub(super) fn read(
    fields: &Fields<'_>,
    mut values: Values,
    era: Era,
    context: &Context<'_, '_>,
    findings: &mut Findings,
) -> Option<PassRead> {
    let quantised = ["QLoRA", "LoftQ"].contains(&fields.block.name);
    check_task(context, fields.block.name, findings);
    let train = fields.found("train_data_config").and_then(|found| context.data.reference(found, findings));
    let eval = fields.found("eval_data_config").and_then(|found| context.data.reference(found, findings));
    let eval_dataset_size = eval_size(fields, &values, findings);
    if eval.is_some() && eval_dataset_size.is_some() {
        values.warn(
            "eval_dataset_size",
            "`eval_dataset_size` is not used: `eval_data_config` is given",
            findings,
        );
    }
    let evaluates = fields.found("eval_data_config").is_some() || fields.found("eval_dataset_size").is_some();
    let (training, training_values) = training(fields, quantised, evaluates, context, findings);
    let target_modules = targets(fields, &values, findings);
    if quantised && target_modules.is_some() && era == Era::Old {
        let message = format!(
            "Olive of that time ignored `target_modules` of {} and trained all linear layers; here it counts",
            fields.block.name
        );
        values.warn("target_modules", message, findings);
    }
    if quantised && target_modules.is_none() {
        values.set("target_modules", json!("all-linear"));
    }
    if fields.block.name == "DoRA" {
        if values.given("use_dora") && !values.bool("use_dora") {
            let hint = "use the pass LoRA".to_owned();
            values.error("use_dora", "a DoRA pass without DoRA", Some(hint), findings);
        }
        values.set("use_dora", json!(true));
    }
    let dtype = values.text("torch_dtype").unwrap_or("bfloat16").to_owned();
    let compute = values_text(&mut values, "compute_dtype", quantised, &dtype);

    let (train_data, train_resolved) = train?;
    let mut resolved = shown(&values);
    resolved.extend(training_values.resolved("training_args."));
    resolved.extend(prefixed("train_data_config.", train_resolved));
    let eval_data = eval.map(|(data, options)| {
        resolved.extend(prefixed("eval_data_config.", options));
        data
    });
    let lora = LoraOptions {
        r: values.usize("r"),
        alpha: values.f64("alpha"),
        lora_dropout: values.f64("lora_dropout"),
        use_rslora: values.bool("use_rslora"),
        use_dora: values.bool("use_dora"),
        target_modules: match target_modules {
            None if quantised => Some(Targets::AllLinear),
            targets => targets,
        },
        modules_to_save: values.texts("modules_to_save").filter(|modules| !modules.is_empty()),
        torch_dtype: dtype,
        train_data,
        eval_dataset_size: eval_dataset_size.filter(|_| eval_data.is_none()),
        eval_data,
        training,
    };
    let pass = if fields.block.name == "LoftQ" {
        PassOptions::LoftQ(LoftqOptions {
            lora,
            compute_dtype: compute,
            loftq_iter: values.usize("loftq_iter"),
        })
    } else if quantised {
        PassOptions::QLoRA(QloraOptions {
            lora,
            compute_dtype: compute,
            quant_type: values.choice("quant_type").unwrap_or(QuantType::Nf4),
            double_quant: values.bool("double_quant"),
        })
    } else {
        PassOptions::LoRA(lora)
    };
    Some((pass, resolved))
}

/// `compute_dtype` is an option of QLoRA and LoftQ alone; null means `torch_dtype`.
fn values_text(values: &mut Values, name: &str, quantised: bool, dtype: &str) -> String {
    if !quantised {
        return dtype.to_owned();
    }
    let text = values.text(name).unwrap_or(dtype).to_owned();
    values.set(name, Json::String(text.clone()));
    text
}

/// The plan shows the training arguments one by one, not as an object.
fn shown(values: &Values) -> Vec<ResolvedOption> {
    let mut options = values.resolved("");
    options.retain(|option| option.name != "training_args");
    options
}

fn prefixed(prefix: &str, options: Vec<ResolvedOption>) -> impl Iterator<Item = ResolvedOption> {
    options
        .into_iter()
        .map(move |option| ResolvedOption { name: format!("{prefix}{}", option.name), ..option })
}

fn check_task(context: &Context<'_, '_>, pass: &str, findings: &mut Findings) {
    let Some((task, at, path)) = &context.model.task else { return };
    if !["text-generation", "text-generation-with-past"].contains(&task.as_str()) {
        let message = format!("the task is `{task}`, and {pass} trains text generation only");
        findings.error(*at, path, message, Some("set it to `text-generation`".into()));
    }
}

fn eval_size(fields: &Fields<'_>, values: &Values, findings: &mut Findings) -> Option<EvalSize> {
    let found = fields.found("eval_dataset_size")?;
    match number(found.node) {
        Some(share) if share > 0.0 && share < 1.0 => Some(EvalSize::Fraction(share)),
        Some(count) if count >= 1.0 && count.fract() == 0.0 && count < 1e15 => {
            Some(EvalSize::Count(count as usize))
        }
        _ => {
            let message = format!(
                "expected a count of 1 or more, or a share in (0, 1), found {}",
                found.node.describe()
            );
            let hint = "leave it out to hold nothing out".to_owned();
            values.error("eval_dataset_size", message, Some(hint), findings);
            None
        }
    }
}

/// A list of names, `all-linear`, one name, or a regular expression.
fn targets(fields: &Fields<'_>, values: &Values, findings: &mut Findings) -> Option<Targets> {
    let found = fields.found("target_modules")?;
    let mut wrong = |message: String, hint: Option<String>| {
        values.error("target_modules", message, hint, findings);
        None
    };
    match &found.node.value {
        Value::Text(text) if text == "all-linear" => Some(Targets::AllLinear),
        Value::Text(text) if text.is_empty() => wrong("the name of the layer is empty".into(), None),
        Value::Text(text) if text.chars().all(|letter| letter.is_alphanumeric() || letter == '_') => {
            Some(Targets::Names(vec![text.clone()]))
        }
        Value::Text(text) => match regex::Regex::new(text) {
            Ok(_) => Some(Targets::Pattern(text.clone())),
            Err(_) => wrong(
                format!("`{text}` is neither `all-linear` nor a regular expression"),
                Some("several layers are a list: [\"q_proj\", \"v_proj\"]".into()),
            ),
        },
        Value::List(items) if items.is_empty() => wrong(
            "the list of layers is empty".into(),
            Some("leave it out for the architecture's default".into()),
        ),
        Value::List(items) => match items.iter().map(Node::as_text).collect::<Option<Vec<_>>>() {
            Some(names) => Some(Targets::Names(names.into_iter().map(str::to_owned).collect())),
            None => wrong("expected a list of layer names".into(), None),
        },
        _ => wrong(
            format!("expected a list of layer names or `all-linear`, found {}", found.node.describe()),
            None,
        ),
    }
}
