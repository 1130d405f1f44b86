//! Why a project cannot be made.

use olive_config::nearest;
use olive_core::{Fault, shown};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error(
        "the column `{column}` cannot stand in a template: its name has one of {{ }} [ ] . : !, or is empty"
    )]
    ColumnName { column: String },
    #[error("there is no column `{column}` with texts")]
    NoColumn { column: String, texts: Vec<String> },
    #[error("`{column}` cannot be both the question and the answer")]
    SameColumn { column: String },
    #[error("what is learned from the rows cannot be told from their columns: {}", names.join(", "))]
    UnknownShape { names: Vec<String> },
    #[error("the model does not fit into the memory of this machine, even trained in 4 bits")]
    TooLarge { needed: String },
    #[error("`{}` is there already", shown(path))]
    Exists { path: PathBuf },
}

impl Fault for ProjectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            ProjectError::ColumnName { .. } => "rename the column in the file".into(),
            ProjectError::NoColumn { column, texts } => match nearest(column, texts.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`? there is {}", texts.join(", ")),
                None => format!("there is {}", texts.join(", ")),
            },
            ProjectError::SameColumn { .. } => "name two columns, or learn one as it is with --text".into(),
            ProjectError::UnknownShape { .. } => {
                "say it with --question COLUMN and --answer COLUMN, with --text COLUMN, or with --template TEXT".into()
            }
            ProjectError::TooLarge { needed } => format!("{needed}; choose a smaller model, or a larger machine"),
            ProjectError::Exists { .. } => "give another folder, or --overwrite to write it anew".into(),
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            ProjectError::TooLarge { .. } => 1,
            _ => 2,
        }
    }
}
