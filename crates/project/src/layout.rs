//! The files of a project.
//!
//! | | |
//! |---|---|
//! | `datasets/` | the data |
//! | `fine-tuning/` | `olive-config.json`, what its keys mean, its schema |
//! | `inferences/` | how the result is asked |
//! | `model-cache/` | base models |
//! | `gen-model/` | what runs make |
//! | `setup/` | whether this machine has what it takes |

use crate::error::ProjectError;
use crate::explanation::explained;
use crate::proposal::{Outcome, Proposal};
use olive_config::json_schema;
use olive_core::error::IoContext;
use olive_core::{Result, file, shell_word};
use olive_engine::REGISTRY;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Where the configuration lies, from the project's root.
pub const CONFIGURATION: &str = "fine-tuning/olive-config.json";

/// Larger data stays where it is, bytes.
const MOST_COPIED: u64 = 1 << 30;

/// A project on its way to the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub root: PathBuf,
    /// With paths from the root.
    pub proposal: Proposal,
    /// The data, if it is to be copied to where the proposal has it.
    pub copied: Option<PathBuf>,
    /// How the program is called.
    pub program: String,
}

/// What becomes of a project that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Replace,
}

/// Where data goes in a project: the path for the configuration, and whether it has to be copied there.
///
/// # Errors
/// A path of no file.
pub fn place_of_data(root: &Path, data: &Path) -> Result<(String, bool)> {
    if let Some(inside) = inside(root, data) {
        return Ok((inside, false));
    }
    let size = data.metadata().at("read", data)?.len();
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match data.is_file() && size <= MOST_COPIED {
        true => Ok((format!("datasets/{name}"), true)),
        false => Ok((absolute(data).display().to_string(), false)),
    }
}

/// Where a model is, as the configuration of a project names it.
pub fn place_of_model(root: &Path, model: &str) -> String {
    let path = Path::new(model);
    match path.exists() {
        true => inside(root, path).unwrap_or_else(|| absolute(path).display().to_string()),
        false => model.to_owned(),
    }
}

/// A path from the project's root, if it does not lead out of it. Links are not followed: they are the user's way to have
/// something in a project that lies elsewhere.
fn inside(root: &Path, path: &Path) -> Option<String> {
    Some(absolute(path).strip_prefix(absolute(root)).ok()?.display().to_string())
}

/// Without `.` and `..`, where that does not depend on links.
fn absolute(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let has_parents = whole.components().any(|part| part == Component::ParentDir);
    let folder = whole.parent().filter(|_| has_parents).and_then(|folder| folder.canonicalize().ok());
    match (folder, whole.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => whole,
    }
}

/// # Errors
/// [`ProjectError::Exists`]: there is a project, which is to be kept.
pub fn refuse_existing(root: &Path, existing: Existing) -> Result<(), ProjectError> {
    let configuration = root.join(CONFIGURATION);
    match existing == Existing::Keep && configuration.exists() {
        true => Err(ProjectError::Exists { path: configuration }),
        false => Ok(()),
    }
}

impl Layout {
    /// Writes the project, and gives the files from its root in the order in which they are best read. Files that a project does not have to
    /// have are left as they are where they exist.
    ///
    /// # Errors
    /// [`ProjectError::Exists`], before anything is written; a folder that cannot be written.
    pub fn write(&self, existing: Existing) -> Result<Vec<&'static str>> {
        self.check(existing)?;
        for folder in ["datasets", "fine-tuning", "inferences", "model-cache", "gen-model", "setup"] {
            let folder = self.root.join(folder);
            std::fs::create_dir_all(&folder).at("create", &folder)?;
        }
        if let Some((from, to)) = self.copy() {
            file::copy(from, &to).at("write", &to)?;
        }
        let mut document = json!({"$schema": "olive.schema.json"});
        if let (Value::Object(document), Value::Object(configuration)) =
            (&mut document, self.proposal.configuration())
        {
            document.extend(configuration);
        }
        let schema = json_schema(&REGISTRY);
        let own = [
            (CONFIGURATION, format!("{document:#}\n")),
            ("fine-tuning/README.md", self.explanation()),
            ("fine-tuning/olive.schema.json", format!("{schema}\n")),
            ("inferences/ask.sh", self.asking()),
            ("setup/check.sh", self.checking()),
        ];
        for (name, content) in &own {
            self.put(name, content)?;
        }
        for (name, content) in [
            ("model-cache/.gitignore", "*\n!.gitignore\n"),
            ("gen-model/.gitignore", "*\n!.gitignore\n"),
            (".gitignore", "/cache/\n"),
        ] {
            if !self.root.join(name).exists() {
                self.put(name, content)?;
            }
        }
        Ok(own.iter().map(|(name, _)| *name).collect())
    }

    /// Whether something of somebody's is in the way.
    fn check(&self, existing: Existing) -> Result<()> {
        refuse_existing(&self.root, existing)?;
        if existing == Existing::Replace {
            return Ok(());
        }
        match self.copy() {
            Some((from, to)) if to.exists() && !file::have_same_bytes(from, &to).at("read", &to)? => {
                Err(ProjectError::Exists { path: to }.into())
            }
            _ => Ok(()),
        }
    }

    /// The data from where it is to where the project has it.
    fn copy(&self) -> Option<(&Path, PathBuf)> {
        let (from, trained) = self.copied.as_deref().zip(self.proposal.trained.as_ref())?;
        Some((from, self.root.join(&trained.data.file)))
    }

    fn put(&self, name: &str, content: &str) -> Result<()> {
        let path = self.root.join(name);
        file::replace(&path, content.as_bytes()).at("write", &path)?;
        if path.extension().is_some_and(|ending| ending == "sh") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).at("write", &path)?;
        }
        Ok(())
    }

    /// The command that runs the project, from its root.
    pub fn command(&self) -> String {
        format!("{} run --config {CONFIGURATION}", self.program)
    }

    fn explanation(&self) -> String {
        let mut text = format!(
            "# What `olive-config.json` says\n\nCommands are run in the project's root, where paths begin:\n\n```sh\n{command}\n\
             {program} validate {CONFIGURATION}\n{program} data {CONFIGURATION}\n{program} chat {output}\n```\n\nThe first runs it; what was done before comes from the cache. The \
             second says of every value where it comes from, and what a run would do. The third shows the rows as the model sees them. \
             `{output}/report.html` is the page of the last run, with what was measured of the model before and after; another \
             `output_dir` keeps it beside the next one, and `{program} compare` sets both side by side.\n\n| key | value | |\n|---|---|---|\n",
            command = self.command(),
            program = self.program,
            output = self.proposal.output_dir,
        );
        for key in explained(&self.proposal.configuration()) {
            text.push_str(&format!(
                "| `{}` | {} | {} |\n",
                key.path,
                cell(&key.value),
                key.meaning.replace('|', "\\|")
            ));
        }
        text
    }

    fn asking(&self) -> String {
        let note = match self.proposal.outcome {
            Outcome::Int4 | Outcome::Float32 => "the ONNX model",
            Outcome::Merged => "the merged model",
            Outcome::Adapter => "the base model with the adapter",
        };
        format!(
            "#!/bin/sh\n# Talks with {note} that the last run made; with a question, answers it once.\n\
             cd \"$(dirname \"$0\")/..\"\nif [ $# -gt 0 ]; then\n    exec {program} generate {output} --prompt \"$*\"\nfi\n\
             exec {program} chat {output}\n",
            program = self.program,
            output = shell_word(&self.proposal.output_dir),
        )
    }

    fn checking(&self) -> String {
        format!(
            "#!/bin/sh\n# Says what this machine has, and whether the configuration can be run on it.\n\
             cd \"$(dirname \"$0\")/..\"\n{program} doctor && exec {program} validate --strict {CONFIGURATION}\n",
            program = self.program,
        )
    }
}

/// A value in a cell of a table.
fn cell(value: &Value) -> String {
    format!("`{}`", value.to_string().replace('|', "\\|").replace('`', "'"))
}
