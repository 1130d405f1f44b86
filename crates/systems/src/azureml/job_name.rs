//! The names of jobs: the same work has the same name, so that it is found and not sent twice.

use olive_azureml::job::{CommandJob, JobName};

/// What all names begin with.
pub(super) const PREFIX: &str = "olive-";

/// The tag of all jobs, whose value is the version of the program that sent them.
pub(super) const TAG: &str = "olive";

/// Letters of a workflow's name that are kept.
const LONGEST: usize = 60;

/// `olive-WORKFLOW-HASH`, of all that the result depends on. `number` is that of the attempt, from 1.
pub(super) fn job_name(workflow: &str, job: &CommandJob, number: u32) -> JobName {
    let mut hash = blake3::Hasher::new();
    let mut feed = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    feed(&job.command);
    feed(&job.environment_id);
    for (name, input) in &job.inputs {
        feed(name);
        feed(&serde_json::to_string(input).expect("an input is plain data"));
    }
    let hash = hash.finalize().to_hex();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let workflow: String = workflow.chars().take(LONGEST).map(plain).collect();
    let end = if number > 1 { format!("-{number}") } else { String::new() };
    JobName::new(format!("{PREFIX}{workflow}-{}{end}", &hash[..12])).expect("letters, digits and hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_has_the_same_name() {
        let job = |command: &str| CommandJob { command: command.into(), ..CommandJob::default() };
        let name = job_name("my work/flow", &job("a"), 1).to_string();
        assert!(name.starts_with("olive-my-work-flow-") && name.len() == 19 + 12, "{name}");
        assert_eq!(job_name("my work/flow", &job("a"), 1).to_string(), name);
        assert_ne!(job_name("my work/flow", &job("b"), 1).to_string(), name);
        assert_eq!(job_name("my work/flow", &job("a"), 3).to_string(), format!("{name}-3"));
    }
}
