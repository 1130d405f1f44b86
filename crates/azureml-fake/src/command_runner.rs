//! Running a job's own command on this machine, with its code, inputs and outputs as files.

use crate::job::{Input, RunningJob};
use crate::place::Place;
use crate::runner::{JobRunner, Outcome, STD_LOG};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

/// Gives the command of each job to `bash`, in a folder with the job's code.
///
/// The command has the variables of the job and those of the compute. When somebody cancels the job, the shell is killed; a
/// command that is to go with it replaces the shell with `exec`.
#[derive(Debug, Clone, Default)]
pub struct CommandRunner {
    /// Further variables of the compute.
    pub variables: Vec<(String, String)>,
}

#[async_trait]
impl JobRunner for CommandRunner {
    async fn run(&self, job: &RunningJob) -> Outcome {
        match self.try_run(job).await {
            Ok(outcome) => outcome,
            Err(error) => {
                Outcome::failed(&format!("The fake cannot run the job: {error}"), &["ServiceError"])
            }
        }
    }
}

impl CommandRunner {
    async fn try_run(&self, job: &RunningJob) -> io::Result<Outcome> {
        job.set_status("Preparing");
        let node = Node::prepare(job)?;
        let command = node.command(job.command());
        job.set_status("Running");
        let own = job.job.properties["environmentVariables"].as_object().into_iter().flatten();
        let own = own.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let compute =
            job.variables.iter().chain(&self.variables).map(|(name, value)| (name.as_str(), value.as_str()));
        let mut shell = Command::new("bash")
            .args(["-c", &command])
            .current_dir(node.code())
            .envs(own.chain(compute))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdout, stderr) = (shell.stdout.take(), shell.stderr.take());
        tokio::try_join!(copy_lines(job, stdout), copy_lines(job, stderr))?;
        let status = shell.wait().await?;
        job.set_status("Finalizing");
        node.keep_outputs(job)?;
        if status.success() {
            return Ok(Outcome::Completed);
        }
        let message = format!(
            "Execution failed. User process 'bash' exited with {status}. Please check log file '{STD_LOG}' for error details."
        );
        Ok(Outcome::failed(&message, &["UserError", "UserProcessFailed"]))
    }
}

async fn copy_lines(job: &RunningJob, from: Option<impl AsyncRead + Unpin>) -> io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        job.log(STD_LOG, &format!("{line}\n"));
    }
    Ok(())
}

/// The files of a job.
struct Node {
    folder: tempfile::TempDir,
    /// What stands for `inputs.NAME` and `outputs.NAME` in the command.
    values: BTreeMap<String, String>,
    outputs: Vec<(PathBuf, Place)>,
}

impl Node {
    fn prepare(job: &RunningJob) -> io::Result<Node> {
        let folder = tempfile::tempdir()?;
        let mut node = Node { folder, values: BTreeMap::new(), outputs: Vec::new() };
        std::fs::create_dir_all(node.code())?;
        if let Some(code) = &job.code {
            write(&node.code(), job.files(code))?;
        }
        for (name, input) in &job.inputs {
            let value = match input {
                Input::Literal(value) => value.clone(),
                Input::Files(place) => node.input(name, place, job)?.display().to_string(),
            };
            node.values.insert(format!("inputs.{name}"), value);
        }
        for (name, place) in &job.outputs {
            let path = node.folder.path().join("outputs").join(name);
            std::fs::create_dir_all(&path)?;
            node.values.insert(format!("outputs.{name}"), path.display().to_string());
            node.outputs.push((path, place.clone()));
        }
        Ok(node)
    }

    fn code(&self) -> PathBuf {
        self.folder.path().join("code")
    }

    /// Where an input is: a file, or a folder.
    fn input(&self, name: &str, place: &Place, job: &RunningJob) -> io::Result<PathBuf> {
        let path = self.folder.path().join("inputs").join(name);
        let is_file = job.blobs.get(&place.container, &place.path).is_some();
        let files = job.files(place);
        let inner = files.first().filter(|_| is_file).map(|(name, _)| path.join(name));
        write(&path, files)?;
        Ok(inner.unwrap_or(path))
    }

    /// The command with paths and values in the place of their names. `$[[…]]` goes where a name in it has none.
    fn command(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, optional, after)) = cut(rest, "$[[", "]]") {
            out.push_str(before);
            out.push_str(&self.filled(optional).unwrap_or_default());
            rest = after;
        }
        out.push_str(rest);
        self.filled(&out).unwrap_or(out)
    }

    /// `None` if a name has no value.
    fn filled(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = cut(rest, "${{", "}}") {
            out.push_str(before);
            out.push_str(self.values.get(name.trim())?);
            rest = after;
        }
        Some(out + rest)
    }

    fn keep_outputs(&self, job: &RunningJob) -> io::Result<()> {
        for (path, place) in &self.outputs {
            for (name, content) in read(path)? {
                let folder = place.path.trim_end_matches('/');
                job.blobs.put(&place.container, &format!("{folder}/{name}"), content);
            }
        }
        Ok(())
    }
}

/// What stands before, between and after two marks.
fn cut<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = text.split_once(open)?;
    let (inside, after) = rest.split_once(close)?;
    Some((before, inside, after))
}

fn write(folder: &Path, files: Vec<(String, axum::body::Bytes)>) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, content) in files {
        let path = folder.join(&name);
        if name.split('/').any(|part| part == "..") || !path.starts_with(folder) {
            return Err(io::Error::other(format!("the blob `{name}` leads out of its folder")));
        }
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, content)?;
    }
    Ok(())
}

/// All files below a folder, by their paths there.
fn read(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            let inner = read(&entry.path())?;
            files.extend(inner.into_iter().map(|(path, content)| (format!("{name}/{path}"), content)));
        } else {
            files.push((name, std::fs::read(entry.path())?));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_command_become_paths_and_values() {
        let values = [("inputs.a", "/in/a"), ("outputs.b", "/out/b")];
        let node = Node {
            folder: tempfile::tempdir().unwrap(),
            values: values.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            outputs: Vec::new(),
        };
        for (command, expected) in [
            ("x ${{inputs.a}} ${{ outputs.b }}", "x /in/a /out/b"),
            ("x $[[--a ${{inputs.a}}]] $[[--c ${{inputs.c}}]]!", "x --a /in/a !"),
            ("echo ${HOME} $[1", "echo ${HOME} $[1"),
        ] {
            assert_eq!(node.command(command), expected);
        }
    }

    #[test]
    fn blobs_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["../out", "a/../../out", "/out"] {
            assert!(write(folder.path(), vec![(name.into(), "x".into())]).is_err(), "{name}");
        }
    }
}
