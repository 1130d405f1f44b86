//! Files that are not pushed though they lie in the folder.

use std::path::Path;

/// Why a file is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its name, or that of a folder above it, begins with a dot.
    Hidden,
    /// Its name is one of keys and passwords.
    Secret,
    /// It is on its way, or a program made it for itself.
    Temporary,
    /// A state of a training.
    Checkpoint,
    /// What a run notes of itself, with paths of this machine.
    Record,
    /// A model that the result was made from.
    Stage,
    /// It is neither a file nor a folder.
    Odd,
    /// `--exclude`.
    Excluded,
    /// It is not one of those of `--include`.
    NotIncluded,
}

impl Why {
    /// What it is, in a few words.
    pub fn describe(self) -> &'static str {
        match self {
            Why::Hidden => "hidden",
            Why::Secret => "may be a secret",
            Why::Temporary => "temporary",
            Why::Checkpoint => "state of a training",
            Why::Record => "record of the run",
            Why::Stage => "what the result was made from",
            Why::Odd => "neither a file nor a folder",
            Why::Excluded => "--exclude",
            Why::NotIncluded => "not one of --include",
        }
    }

    /// Whether `--include` can name it.
    pub(crate) fn can_be_included(self) -> bool {
        matches!(self, Why::Checkpoint | Why::Record | Why::Stage)
    }
}

/// A file or a folder with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Below the folder of the model; that of a folder ends with `/`.
    pub name: String,
    pub why: Why,
}

/// Files that a run writes about itself, beside its result.
const RECORDS: [&str; 4] = ["model_config.json", "run_history.json", "run_history.txt", "report.html"];

/// Whether a name is that of something that belongs to no published model. `name` is the last part; `of_a_run` tells whether it
/// lies beside the result of a run.
pub(crate) fn judge(name: &str, is_folder: bool, of_a_run: bool) -> Option<Why> {
    let lower = name.to_lowercase();
    let name = lower.as_str();
    if name.starts_with('.') {
        return (is_folder || name != ".gitattributes").then_some(Why::Hidden);
    }
    if is_secret(name) {
        return Some(Why::Secret);
    }
    if is_temporary(name) {
        return Some(Why::Temporary);
    }
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_state = matches!(name, "optimizer.pt" | "optimizer.bin" | "scheduler.pt")
        || (name.starts_with("rng_state") && name.ends_with(".pth"));
    if (is_folder && numbered("checkpoint-")) || (!is_folder && is_state) {
        return Some(Why::Checkpoint);
    }
    let is_stage =
        ["adapter", "merged"].iter().any(|stage| name == *stage || name.starts_with(&format!("{stage}-")));
    match (of_a_run, is_folder) {
        (true, true) if is_stage => Some(Why::Stage),
        (true, false) if RECORDS.contains(&name) => Some(Why::Record),
        _ => None,
    }
}

fn is_secret(name: &str) -> bool {
    const ENDINGS: [&str; 9] = ["pem", "key", "p12", "pfx", "jks", "keystore", "kdbx", "env", "netrc"];
    const NAMES: [&str; 8] =
        ["token", "token.txt", "hf_token", "hf_token.txt", "netrc", "_netrc", "secrets.json", "secrets.toml"];
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.contains(&ending)
        || NAMES.contains(&name)
        || ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"].iter().any(|key| name.starts_with(key))
        || ["credential", "password", "secrets.y"].iter().any(|word| name.contains(word))
}

fn is_temporary(name: &str) -> bool {
    const ENDINGS: [&str; 12] = [
        "tmp",
        "temp",
        "partial",
        "part",
        "incomplete",
        "lock",
        "swp",
        "swo",
        "pyc",
        "pyo",
        "bak",
        "crdownload",
    ];
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.contains(&ending)
        || name.ends_with('~')
        || matches!(name, "__pycache__" | "thumbs.db" | "desktop.ini" | "tmp" | "temp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_belongs_to_no_model() {
        let file = |name: &str| judge(name, false, true);
        let folder = |name: &str| judge(name, true, true);
        for (name, why) in [
            (".env", Why::Hidden),
            (".olive-partial-x", Why::Hidden),
            ("server.pem", Why::Secret),
            ("id_rsa.pub", Why::Secret),
            ("aws_credentials", Why::Secret),
            ("token", Why::Secret),
            ("model.safetensors.tmp", Why::Temporary),
            ("notes~", Why::Temporary),
            ("optimizer.pt", Why::Checkpoint),
            ("rng_state_0.pth", Why::Checkpoint),
            ("run_history.json", Why::Record),
        ] {
            assert_eq!(file(name), Some(why), "{name}");
        }
        for (name, why) in [
            (".git", Why::Hidden),
            (".olive", Why::Hidden),
            ("checkpoint-100", Why::Checkpoint),
            ("__pycache__", Why::Temporary),
            ("merged", Why::Stage),
            ("adapter-lora", Why::Stage),
        ] {
            assert_eq!(folder(name), Some(why), "{name}");
        }
        for name in [
            "README.md",
            ".gitattributes",
            "tokenizer.json",
            "special_tokens_map.json",
            "model.onnx.data",
            "adapter_model.safetensors",
            "checkpoint-100",
            "partial.json",
        ] {
            assert_eq!(file(name), None, "{name}");
        }
        for name in ["onnx", "1_Pooling", "checkpoints-of-others", "tokens"] {
            assert_eq!(folder(name), None, "{name}");
        }
        assert_eq!((judge("adapter", true, false), judge("report.html", false, false)), (None, None));
    }
}
