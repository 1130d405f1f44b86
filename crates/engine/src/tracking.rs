//! Where trainings are logged: what `report_to` asks for, as far as the environment makes it possible.

use crate::passes::{MlflowLog, TrainingLog};
use crate::plan::{Plan, Step};
use olive_config::training::{Logging, Wanted};
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_core::secrets::{hidden, is_secret};
use olive_tracking::{MlflowSettings, TrackingError};
use olive_train::wandb::{WandbRun, WandbSettings};
use serde_json::Value;

/// What the environment says of services that log trainings.
#[derive(Debug, Clone, Default)]
pub struct Tracking {
    pub mlflow: Mlflow,
    pub wandb: WandbSettings,
}

/// What the environment says of MLflow.
#[derive(Debug, Clone, Default)]
pub enum Mlflow {
    /// Nothing is logged, whoever asks for it: a job's log is its own.
    #[default]
    Off,
    /// Who asks for it is told why not.
    Unusable(TrackingError),
    Server(MlflowSettings),
}

impl Mlflow {
    /// Whether all trainings here that are to be logged can be.
    ///
    /// # Errors
    /// [`crate::EngineError::Check`] with the reason: the first that cannot.
    pub(crate) fn check(&self, plan: &Plan) -> Result<()> {
        let Mlflow::Unusable(reason) = self else { return Ok(()) };
        match steps(plan, Wanted::Yes).find(|step| step.host.is_here()) {
            None => Ok(()),
            Some(step) => Err(step.refused(reason.clone().into()).into()),
        }
    }

    /// Says which trainings are not logged although that was asked for: those of jobs, and those that go without a server
    /// that cannot be used.
    pub(crate) fn warn(&self, plan: &Plan, events: &dyn EventSink) {
        for step in steps(plan, Wanted::Yes).filter(|step| !step.host.is_here()) {
            let message = format!(
                "`{}` is not logged to MLflow: it runs on {}, whose jobs have no client of it",
                step.config.name, step.host
            );
            events.emit(Event::Warning { message });
        }
        if let Mlflow::Unusable(reason @ (TrackingError::Uri { .. } | TrackingError::Variable { .. })) = self
            && steps(plan, Wanted::IfThere).next().is_some()
        {
            events.emit(Event::Warning { message: format!("nothing is logged to MLflow: {reason}") });
        }
    }
}

impl Tracking {
    /// How the training of a step is logged, if it is one.
    pub(crate) fn log_of(&self, step: &Step) -> TrainingLog<'_> {
        let Some(Logging { report_to, run_name }) =
            step.pass.training().map(|training| &training.args.logging)
        else {
            return TrainingLog::default();
        };
        let mlflow = match &self.mlflow {
            Mlflow::Server(settings) if report_to.mlflow != Wanted::No => {
                Some(mlflow_log(settings, step, run_name))
            }
            Mlflow::Server(_) | Mlflow::Unusable(_) | Mlflow::Off => None,
        };
        let wandb = report_to.wandb.then(|| WandbRun {
            settings: self.wandb.clone(),
            name: run_name.clone(),
            config: options(step).map(|(name, value)| (name, without_secrets(value))).collect(),
        });
        TrainingLog { mlflow, wandb }
    }
}

fn mlflow_log<'a>(settings: &'a MlflowSettings, step: &Step, name: &Option<String>) -> MlflowLog<'a> {
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let param = |(name, value): (String, &Value)| (name, hidden(&as_python_has_it(value)).into_owned());
    MlflowLog {
        settings,
        name: name.clone(),
        params: options(step).map(param).collect(),
        tags: vec![
            tag("mlflow.source.name", "olive"),
            tag("mlflow.source.type", "LOCAL"),
            tag("olive.version", env!("CARGO_PKG_VERSION")),
            tag("olive.pass", &step.config.name),
            tag("olive.pass_type", step.pass.name()),
        ],
    }
}

fn steps(plan: &Plan, wanted: Wanted) -> impl Iterator<Item = &Step> {
    let steps = plan.flows.iter().flat_map(|flow| &flow.steps);
    steps.filter(move |step| {
        step.pass.training().is_some_and(|training| training.args.logging.report_to.mlflow == wanted)
    })
}

/// The options of the step by the names that transformers and PEFT have for them.
fn options(step: &Step) -> impl Iterator<Item = (String, &Value)> {
    let named = step.config.resolved.iter().map(|option| {
        let name = option.name.strip_prefix("training_args.").unwrap_or(&option.name);
        (name.to_owned(), &option.value)
    });
    named.filter(|(name, _)| !is_secret(name))
}

fn without_secrets(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| hidden(text).into_owned().into())
}

/// In Python's spelling, so that MLflow shows runs of transformers and these side by side.
fn as_python_has_it(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => python_float(number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}

/// Python's `repr`: an exponent, of two digits at least, below 1e-4 and from 1e16 on.
fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let parts = scientific.split_once('e').and_then(|(digits, exponent)| {
        Some((digits, exponent.parse::<i32>().ok()?)).filter(|(_, exponent)| !(-4..16).contains(exponent))
    });
    match parts {
        Some((digits, exponent)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_spelled_as_in_python() {
        for (value, expected) in [
            (json!(1e-8), "1e-08"),
            (json!(2e-5), "2e-05"),
            (json!(1.5e-5), "1.5e-05"),
            (json!(0.0001), "0.0001"),
            (json!(1e16), "1e+16"),
            (json!(3.0), "3.0"),
            (json!(7), "7"),
            (json!(null), "None"),
            (json!(true), "True"),
            (json!("linear"), "linear"),
            (json!(["q_proj"]), r#"["q_proj"]"#),
        ] {
            assert_eq!(as_python_has_it(&value), expected);
        }
    }
}
