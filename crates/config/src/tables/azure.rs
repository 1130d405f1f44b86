//! The AzureML workspace.

use crate::option::{Block, Kind, Opt, at_least};

pub(crate) static AZUREML_CLIENT: Block = Block {
    name: "azureml_client",
    doc: "The AzureML workspace. Passes do not run there yet, so it is only checked for unknown keys.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("subscription_id", Kind::Text, "Azure subscription.").quiet(),
        Opt::new("resource_group", Kind::Text, "Azure resource group.").quiet(),
        Opt::new("workspace_name", Kind::Text, "AzureML workspace.").quiet(),
        Opt::new("aml_config_path", Kind::Text, "JSON file with those three.").quiet(),
        Opt::new("read_timeout", at_least(0), "Seconds to wait for an answer.").quiet(),
        Opt::new("max_operation_retries", at_least(0), "How often an operation is tried again.").quiet(),
        Opt::new("operation_retry_interval", at_least(0), "Seconds before the first retry.").quiet(),
        Opt::new("default_auth_params", Kind::Any, "Arguments of Azure's default credential.").quiet(),
        Opt::new("keyvault_name", Kind::Text, "Key vault that holds the secret `hf-token`.").quiet(),
    ]],
    open: None,
};
