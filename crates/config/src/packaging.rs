//! `packaging_config`: archives of the results.

use crate::option::{BOOL, Block, Special, TEXT};
use crate::{choice, options};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An archive of the best results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packaging {
    /// Name of the file, without `.zip`.
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackagingType {
    Zipfile,
    Dockerfile,
    AzureMLModels,
    AzureMLData,
    AzureMLDeployment,
}

choice!(PackagingType: "Zipfile", "Dockerfile", "AzureMLModels", "AzureMLData", "AzureMLDeployment");

pub(crate) static PACKAGING: Block = Block {
    name: "packaging_config",
    doc: "An archive of the best results beside them. `Zipfile` is the one that is made.",
    wrapper: Some("config"),
    outer: ARCHIVE,
    parts: &[ARCHIVE_CONFIG],
    open: Some("it belongs to a type that is not made"),
};

/// One, several or none.
pub(crate) static PACKAGINGS: Special =
    Special::unchecked("an object, or a list of them, see `packaging_config`", || {
        let one = json!({"$ref": "#/$defs/packaging_config"});
        json!({"anyOf": [one, {"type": "array", "items": one}, {"type": "null"}]})
    });

options! {
    /// What a file says of an archive.
    pub struct PackagingOptions {
        ARCHIVE {
            /// What is made of the results.
            pub r#type as "type": PackagingType, default("\"Zipfile\"");
            /// Name of the archive in `output_dir`, without `.zip`.
            pub name: String = TEXT, default("\"OutputModels\"");
        }
        ARCHIVE_CONFIG {
            /// Pack models as MLflow does.
            - "export_in_mlflow_format" = BOOL, ignored_unless("false", "models are packed as they are");
        }
    }
}
