//! What Azure takes for a name, what is still a placeholder, and where the right one is found.

use regex::Regex;
use std::sync::LazyLock;

/// What a name in a configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AzureName {
    Subscription,
    ResourceGroup,
    Workspace,
    KeyVault,
    Compute,
    Datastore,
    /// A path in a datastore or in the output of a job.
    Path,
    Registry,
    Model,
    Environment,
    /// Of a model or an environment.
    Version,
    Job,
    Output,
    Image,
    /// Of a Kubernetes compute.
    InstanceType,
    /// The client id of an identity.
    Identity,
}

/// Why something is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFault {
    pub message: String,
    /// Where the right name is found.
    pub hint: String,
}

/// Characters and length that Azure's REST interfaces ask for.
struct Rule {
    pattern: &'static LazyLock<Regex>,
    /// Completes "expected …".
    expected: &'static str,
}

macro_rules! patterns {
    ($($name:ident = $pattern:literal;)+) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a valid pattern"));)+
    };
}

// Of the interfaces' descriptions: workspaces, assets, and the common types of resource management.
patterns! {
    UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
    RESOURCE_GROUP = r"^[-\w._()]{0,89}[-\w_()]$";
    WORKSPACE = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$";
    KEY_VAULT = r"^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$";
    ASSET = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}$";
    // Registries have models such as `Phi-3.5-mini-instruct`, and versions have dots.
    DOTTED = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,254}$";
    NO_SPACE = r"^\S+$";
    PRINTABLE = r"^\P{Cc}+$";
    BRACKETS = r"<[^<>]*>|\$\{[^{}]*\}|\{\{.*\}\}|^\{[^{}]*\}$|^\[[^\[\]]*\]$|^%\w+%$|^\$\w+$";
    REQUEST = r"^(your(_.*)?|todo|tbd|fixme|change_?me|replace_?me|placeholder)$";
    NOTHING = r"^$|^[x_]*x{3}[x_]*$|^0{8}(_0{4}){3}_0{12}$";
}

impl AzureName {
    /// Checks the value of the option `key`.
    ///
    /// # Errors
    /// It is a placeholder, or Azure has no such names.
    pub(crate) fn check(self, key: &str, text: &str) -> Result<(), NameFault> {
        if self.is_placeholder(key, text) {
            let message = if text.trim().is_empty() {
                "the name is empty".to_owned()
            } else {
                format!("`{text}` is a placeholder")
            };
            return Err(NameFault { message, hint: self.advice().to_owned() });
        }
        let Rule { pattern, expected } = self.rule();
        if pattern.is_match(text) {
            return Ok(());
        }
        let message = format!("expected {expected}, found `{text}`");
        Err(NameFault { message, hint: self.advice().to_owned() })
    }

    /// Whether somebody has yet to put a name here: `Your Azure Subscription ID`, `<workspace>`, `workspace_name`, `xxxx`.
    fn is_placeholder(self, key: &str, text: &str) -> bool {
        let plain = plain(text);
        // Azure has no such names with spaces in them.
        let described = self != AzureName::Path
            && text.trim().contains(' ')
            && (plain.ends_with("_name") || plain.ends_with("_id"));
        BRACKETS.is_match(text.trim())
            || REQUEST.is_match(&plain)
            || NOTHING.is_match(&plain)
            || plain == key
            || described
    }

    fn rule(self) -> Rule {
        let (pattern, expected) = match self {
            AzureName::Subscription => (&UUID, "the id of a subscription, a UUID"),
            AzureName::ResourceGroup => {
                (&RESOURCE_GROUP, "a resource group, of up to 90 letters, digits, `-`, `_`, `.`, `(` and `)`")
            }
            AzureName::Workspace => {
                (&WORKSPACE, "a workspace, of 3 to 33 letters, digits, `-` and `_` that begin with no sign")
            }
            AzureName::KeyVault => {
                (&KEY_VAULT, "a key vault, of 3 to 24 letters, digits and `-` that begin with a letter")
            }
            AzureName::Compute => (&ASSET, "a compute, of letters, digits and `-`"),
            AzureName::Datastore => (&ASSET, "a datastore, of letters, digits, `-` and `_`"),
            AzureName::Registry => (&ASSET, "a registry, of letters, digits, `-` and `_`"),
            AzureName::Model => (&DOTTED, "a model, of letters, digits, `-`, `_` and `.`"),
            AzureName::Environment => (&DOTTED, "an environment, of letters, digits, `-`, `_` and `.`"),
            AzureName::Version => (&DOTTED, "a version, of letters, digits, `-`, `_` and `.`"),
            AzureName::Job => (&ASSET, "a job, of letters, digits, `-` and `_`"),
            AzureName::Output => (&ASSET, "an output, of letters, digits, `-` and `_`"),
            AzureName::InstanceType => (&DOTTED, "an instance type, of letters, digits, `-` and `.`"),
            AzureName::Identity => (&UUID, "the client id of an identity, a UUID"),
            AzureName::Image => (&NO_SPACE, "the name of an image, without spaces"),
            AzureName::Path => (&PRINTABLE, "a path without control characters"),
        };
        Rule { pattern, expected }
    }

    /// Where the right name is found.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            AzureName::Subscription => {
                "give the id of the subscription: `az account list -o table`, or Subscriptions in the portal"
            }
            AzureName::ResourceGroup => {
                "give the resource group of the workspace: `az group list -o table`, or Resource groups in the portal"
            }
            AzureName::Workspace => {
                "give the name of the workspace: `az ml workspace list -o table`, or Azure Machine Learning in the portal"
            }
            AzureName::KeyVault => {
                "give the key vault that holds the secret `hf-token`: `az keyvault list -o table`, or Key vaults in the portal"
            }
            AzureName::Compute => {
                "give the compute that runs the jobs: `az ml compute list -o table`, or Compute in AzureML's studio"
            }
            AzureName::Datastore => {
                "give the datastore: `az ml datastore list -o table`, or Data, Datastores in AzureML's studio"
            }
            AzureName::Path => {
                "give the path below the datastore or the output, as Data, Datastores, Browse in AzureML's studio shows it"
            }
            AzureName::Registry => {
                "give the registry: `az ml registry list -o table`, or Registries in AzureML's studio"
            }
            AzureName::Model => "give the model: `az ml model list -o table`, or Models in AzureML's studio",
            AzureName::Environment => {
                "give the environment: `az ml environment list -o table`, or Environments in AzureML's studio"
            }
            AzureName::Version => {
                "give the version: `az ml model list --name NAME` or `az ml environment list --name NAME`"
            }
            AzureName::Job => "give the job: `az ml job list -o table`, or Jobs in AzureML's studio",
            AzureName::Output => {
                "give the output of the job: `az ml job show --name JOB --query outputs`, or the job in AzureML's studio"
            }
            AzureName::InstanceType => {
                "give an instance type of the Kubernetes compute: `kubectl get instancetype`"
            }
            AzureName::Identity => {
                "give the client id of the identity: `az identity list -o table`, or Managed Identities in the portal"
            }
            AzureName::Image => {
                "give a Docker image, for example mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.8-cudnn8-ubuntu22.04"
            }
        }
    }
}

/// In lower case, with `_` for whatever stands between words.
fn plain(text: &str) -> String {
    let words = text.trim().split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10";

    fn fault(name: AzureName, key: &str, text: &str) -> Option<String> {
        name.check(key, text).err().map(|fault| fault.message)
    }

    #[test]
    fn placeholders_are_told_from_names() {
        for (name, key, text) in [
            (AzureName::Subscription, "subscription_id", "Your Azure Subscription ID"),
            (AzureName::Subscription, "subscription_id", "<subscription_id>"),
            (AzureName::Subscription, "subscription_id", "your_subscription_id"),
            (AzureName::Subscription, "subscription_id", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
            (AzureName::Subscription, "subscription_id", "00000000-0000-0000-0000-000000000000"),
            (AzureName::Subscription, "subscription_id", "${SUBSCRIPTION}"),
            (AzureName::ResourceGroup, "resource_group", "{{ group }}"),
            (AzureName::ResourceGroup, "resource_group", "resource_group"),
            (AzureName::Workspace, "workspace_name", "Azure ML Workspaces name"),
            (AzureName::Workspace, "workspace_name", "XXXX"),
            (AzureName::KeyVault, "keyvault_name", "prefix-<your-vault>"),
            (AzureName::Compute, "aml_compute", "TODO"),
            (AzureName::Compute, "aml_compute", "..."),
            (AzureName::Path, "relative_path", "Your train_data.json Azure ML Location"),
        ] {
            assert_eq!(fault(name, key, text).as_deref(), Some(&*format!("`{text}` is a placeholder")));
        }
        assert_eq!(fault(AzureName::Compute, "aml_compute", " ").as_deref(), Some("the name is empty"));
    }

    #[test]
    fn what_azure_would_take_is_taken() {
        for (name, key, text) in [
            (AzureName::Subscription, "subscription_id", UUID),
            (AzureName::ResourceGroup, "resource_group", "rg-ml.(west)_1"),
            (AzureName::ResourceGroup, "resource_group", "Gruppe-Süd"),
            (AzureName::Workspace, "workspace_name", "ml-w_1"),
            (AzureName::Workspace, "workspace_name", "my-workspace"),
            (AzureName::KeyVault, "keyvault_name", "my-vault"),
            (AzureName::Compute, "aml_compute", "gpu-cluster"),
            (AzureName::Compute, "aml_compute", "xxl"),
            (AzureName::Path, "relative_path", "data/train rows.jsonl"),
            (AzureName::Model, "name", "Phi-3.5-mini-instruct"),
            (AzureName::Datastore, "datastore_name", "workspaceblobstore"),
        ] {
            assert_eq!(name.check(key, text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_azure_would_refuse_is_refused() {
        for (name, key, text) in [
            (AzureName::Subscription, "subscription_id", "Contoso Pay-As-You-Go"),
            (AzureName::ResourceGroup, "resource_group", "ends-with."),
            (AzureName::ResourceGroup, "resource_group", "a/b"),
            (AzureName::Workspace, "workspace_name", "ab"),
            (AzureName::Workspace, "workspace_name", "_leading"),
            (AzureName::Workspace, "workspace_name", "a-name-of-thirty-four-letters-12345"),
            (AzureName::KeyVault, "keyvault_name", "vault.evil.example"),
            (AzureName::Model, "name", "a/b"),
            (AzureName::Path, "relative_path", "a\u{1b}[2J"),
            (AzureName::Image, "base_image", "an image"),
        ] {
            let message = fault(name, key, text).unwrap_or_default();
            assert!(message.starts_with("expected ") && message.ends_with(&format!("`{text}`")), "{message}");
        }
    }
}
