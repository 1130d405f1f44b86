//! `azureml_client`, wherever it stands.

use crate::azureml::{
    AZUREML_CLIENT, AzureMlClient, AzureMlClientOptions, AzureName, CredentialOptions, DEFAULT_AUTH_PARAMS,
    Workspace,
};
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::json;
use crate::node::Node;
use crate::origin::Era;
use crate::place::join;
use crate::values::Values;
use std::path::Path;

/// The names of a workspace, by their keys.
const NAMES: [(&str, AzureName); 3] = [
    ("subscription_id", AzureName::Subscription),
    ("resource_group", AzureName::ResourceGroup),
    ("workspace_name", AzureName::Workspace),
];

/// A block `azureml_client`, of which the form was checked.
pub(super) struct ClientBlock<'n> {
    fields: Fields<'n>,
    values: Values,
    options: AzureMlClientOptions,
    credentials: CredentialOptions,
    /// Of `default_auth_params`.
    credential_values: Values,
}

impl<'n> ClientBlock<'n> {
    /// Checks the form of a block.
    pub(super) fn read(found: &GivenOption<'n>, findings: &mut Findings) -> Option<ClientBlock<'n>> {
        let fields = Fields::open(found.node, &found.path, &AZUREML_CLIENT, findings);
        found.node.as_object()?;
        let values = fields.resolve(Era::New, findings);
        let inner = match fields.found("default_auth_params") {
            Some(inner) => Fields::open(inner.node, &inner.path, &DEFAULT_AUTH_PARAMS, findings),
            None => Fields::empty(&found.path, found.at, &DEFAULT_AUTH_PARAMS),
        };
        let credential_values = inner.resolve(Era::New, findings);
        let credentials = CredentialOptions::read(&credential_values)?;
        let options = AzureMlClientOptions::read(&values)?;
        Some(ClientBlock { fields, values, options, credentials, credential_values })
    }

    /// The client as it stands there, for what may turn out not to be needed. `None`: the workspace is not named, or the
    /// file that names it cannot be read.
    pub(super) fn unchecked(self) -> Option<AzureMlClient> {
        let workspace = match &self.options.aml_config_path {
            Some(path) => self.named_in(path, &mut Findings::default())?,
            None => self.options.workspace()?,
        };
        Some(self.options.client(workspace, self.credentials))
    }

    /// The client of a workspace that can exist. `None`: it cannot, and that was said.
    pub(super) fn checked(self, findings: &mut Findings) -> Option<AzureMlClient> {
        let workspace = match &self.options.aml_config_path {
            Some(path) => self.named_in(path, findings),
            None => self.named_here(findings),
        };
        let mut sound = true;
        for key in ["managed_identity_client_id", "workload_identity_client_id"] {
            let id = self.credential_values.text(key);
            sound &=
                id.is_none_or(|id| check(AzureName::Identity, key, id, &self.credential_values, findings));
        }
        let client = self.options.client(workspace?, self.credentials);
        sound.then_some(client)
    }

    fn named_here(&self, findings: &mut Findings) -> Option<Workspace> {
        let mut sound = true;
        for (key, name) in NAMES {
            match self.values.text(key) {
                Some(text) => sound &= check(name, key, text, &self.values, findings),
                None => {
                    sound = false;
                    if self.fields.lacks(key) {
                        let message = format!("azureml_client needs `{key}`");
                        let hint = format!("{}; or give `aml_config_path`", name.advice());
                        findings.error(self.fields.at, &self.fields.path, message, Some(hint));
                    }
                }
            }
        }
        self.options.workspace().filter(|_| sound)
    }

    /// The workspace that a file names, as the portal offers it for download.
    fn named_in(&self, path: &Path, findings: &mut Findings) -> Option<Workspace> {
        for (key, _) in NAMES.iter().filter(|(key, _)| self.values.given(key)) {
            self.values.warn(
                key,
                format!("`{key}` is not used: `aml_config_path` names the file that counts"),
                findings,
            );
        }
        let mut fail = |message: String, hint: &str| {
            let message = format!("`{}`: {message}", path.display());
            self.values.error("aml_config_path", message, Some(hint.to_owned()), findings);
        };
        let text = match olive_core::file::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => "the file does not exist".to_owned(),
                    _ => format!("the file cannot be read: {error}"),
                };
                fail(reason, "the overview of the workspace in the portal has it: Download config.json");
                return None;
            }
        };
        let mut inner = Findings::default();
        let tree = json::parse(&text, &mut inner);
        if let Some(error) = inner.errors.first() {
            let (line, column) = error.position.unwrap_or((1, 1));
            fail(
                format!("line {line}, column {column}: {}", error.message),
                "it is an object with `subscription_id`, `resource_group` and `workspace_name`",
            );
            return None;
        }
        let tree = tree?;
        let mut names = Vec::new();
        for (key, name) in NAMES {
            match tree.get(key).and_then(Node::as_text) {
                None => fail(format!("the text `{key}` is missing"), name.advice()),
                Some(text) => match name.check(key, text) {
                    Err(fault) => fail(format!("`{key}`: {}", fault.message), &fault.hint),
                    Ok(()) => names.push(text.to_owned()),
                },
            }
        }
        let [subscription_id, resource_group, workspace_name] = names.try_into().ok()?;
        Some(Workspace { subscription_id, resource_group, workspace_name })
    }

    /// The key vault with the secret `hf-token`, as jobs that log in to the hub need it. `None`: there is none, and that
    /// was said, of the option at `asked`.
    pub(super) fn key_vault(&self, asked: &GivenOption<'_>, findings: &mut Findings) -> Option<String> {
        let Some(vault) = self.values.text("keyvault_name") else {
            if self.fields.lacks("keyvault_name") {
                let message = "hf_token is set to True but keyvault name is not provided";
                let hint = format!(
                    "Please provide a keyvault name to use HF_TOKEN, as `{}`: {}",
                    join(&self.fields.path, "keyvault_name"),
                    AzureName::KeyVault.advice()
                );
                findings.error(asked.at, &asked.path, message, Some(hint));
            }
            return None;
        };
        check(AzureName::KeyVault, "keyvault_name", vault, &self.values, findings).then(|| vault.to_owned())
    }
}

/// How a workspace is reached of which only the names are known.
pub fn client_of(workspace: Workspace) -> AzureMlClient {
    let defaults = |block| Fields::empty("", None, block).resolve(Era::New, &mut Findings::default());
    let options = AzureMlClientOptions::read(&defaults(&AZUREML_CLIENT));
    let credentials = CredentialOptions::read(&defaults(&DEFAULT_AUTH_PARAMS));
    let (options, credentials) = options.zip(credentials).expect("defaults are values");
    options.client(workspace, credentials)
}

/// Whether the value of an option is such a name; if not, that is said.
pub(super) fn check(
    name: AzureName,
    key: &str,
    text: &str,
    values: &Values,
    findings: &mut Findings,
) -> bool {
    let checked = name.check(key, text);
    if let Err(fault) = &checked {
        values.error(key, &fault.message, Some(fault.hint.clone()), findings);
    }
    checked.is_ok()
}
