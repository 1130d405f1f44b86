//! What a cloud says of itself.

/// Its addresses, as the tables of known clouds have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedCloud {
    /// Host of the control plane, with its port if it has one of its own.
    pub(crate) arm: String,
    /// Where tokens come from.
    pub(crate) authority: String,
    /// The audience of tokens for Azure ML itself.
    pub(crate) machine_learning: String,
    /// What the names of data planes of Azure ML end with.
    pub(crate) data_plane: String,
    pub(crate) storage: String,
    pub(crate) vault: String,
    pub(crate) registry_discovery: String,
}
