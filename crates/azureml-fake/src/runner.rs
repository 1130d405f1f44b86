//! What runs jobs: by default a script, or with [`CommandRunner`](crate::command_runner::CommandRunner) the job's own
//! command; [`Gate`] and [`InTurn`] say when, and which.

use crate::job::RunningJob;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Runs the jobs that are submitted.
#[async_trait]
pub trait JobRunner: Debug + Send + Sync {
    /// Runs a job to its end. A runner that does not look at [`RunningJob::cancelled`] is stopped when somebody cancels.
    async fn run(&self, job: &RunningJob) -> Outcome;
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Completed,
    /// With what run history says of it.
    Failed(Value),
    Canceled,
    NotResponding,
}

impl Outcome {
    /// A failure in the form of run history: an error, and others inside it, from the outside in.
    pub fn failed(message: &str, codes: &[&str]) -> Outcome {
        let inner = codes
            .iter()
            .skip(1)
            .rev()
            .fold(Value::Null, |inner, code| json!({"code": code, "innerError": inner}));
        let code = codes.first().unwrap_or(&"UserError");
        Outcome::Failed(json!({
            "error": {"code": code, "message": message, "target": null, "details": [], "innerError": inner},
            "correlation": {"operation": "op", "request": "rq"},
            "environment": "eastus", "location": "eastus", "time": "2026-11-24T00:00:00Z"}))
    }

    pub fn status(&self) -> &'static str {
        match self {
            Outcome::Completed => "Completed",
            Outcome::Failed(_) => "Failed",
            Outcome::Canceled => "Canceled",
            Outcome::NotResponding => "NotResponding",
        }
    }
}

/// The log that people look at.
pub const STD_LOG: &str = "user_logs/std_log.txt";

/// A runner that does the same with each job.
#[derive(Debug, Clone)]
pub struct Script {
    steps: Vec<Step>,
    outcome: Outcome,
}

#[derive(Debug, Clone)]
enum Step {
    /// The job has this status until somebody looked at it.
    Status(&'static str),
    Log(String),
    Output {
        output: String,
        path: String,
        content: String,
    },
    /// The job stays as it is until somebody cancels it.
    Stuck,
}

impl Script {
    /// A job that queues, runs and ends so.
    pub fn ending(outcome: Outcome) -> Script {
        Script { steps: vec![Step::Status("Queued"), Step::Status("Running")], outcome }
    }

    /// A job that no machine ever takes.
    pub fn queueing_for_ever() -> Script {
        Script { steps: vec![Step::Status("Queued"), Step::Stuck], outcome: Outcome::Completed }
    }

    /// A further line of the log, after which somebody has to look at the job before it goes on.
    pub fn line(mut self, text: &str) -> Script {
        self.steps.extend([Step::Log(format!("{text}\n")), Step::Status("Running")]);
        self
    }

    /// A further file of an output.
    pub fn output(mut self, output: &str, path: &str, content: &str) -> Script {
        let step = Step::Output { output: output.into(), path: path.into(), content: content.into() };
        self.steps.push(step);
        self
    }
}

impl Default for Script {
    fn default() -> Script {
        Script::ending(Outcome::Completed)
    }
}

#[async_trait]
impl JobRunner for Script {
    async fn run(&self, job: &RunningJob) -> Outcome {
        for step in &self.steps {
            match step {
                Step::Status(status) => {
                    job.set_status(status);
                    job.polled().await;
                }
                Step::Log(text) => job.log(STD_LOG, text),
                Step::Output { output, path, content } => job.write_output(output, path, content.clone()),
                Step::Stuck => std::future::pending().await,
            }
        }
        job.set_status("Finalizing");
        job.polled().await;
        self.outcome.clone()
    }
}

/// Jobs wait in the queue until the gate is open.
#[derive(Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
    then: Arc<dyn JobRunner>,
}

impl Gate {
    /// Closed; `then` runs what comes through.
    pub fn closed(then: Arc<dyn JobRunner>) -> Gate {
        Gate { open: watch::Sender::new(false), then }
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

#[async_trait]
impl JobRunner for Gate {
    async fn run(&self, job: &RunningJob) -> Outcome {
        job.set_status("Queued");
        // The sender lives as long as this does.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        self.then.run(job).await
    }
}

/// Every job has a runner of its own, in this order, and those after them the last.
#[derive(Debug)]
pub struct InTurn {
    first: Mutex<VecDeque<Arc<dyn JobRunner>>>,
    last: Arc<dyn JobRunner>,
}

impl InTurn {
    pub fn new(first: Vec<Arc<dyn JobRunner>>, last: Arc<dyn JobRunner>) -> InTurn {
        InTurn { first: Mutex::new(first.into()), last }
    }
}

#[async_trait]
impl JobRunner for InTurn {
    async fn run(&self, job: &RunningJob) -> Outcome {
        let next = self.first.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.unwrap_or_else(|| Arc::clone(&self.last)).run(job).await
    }
}
