//! The variables of the process, handed in: nothing else here asks for them.

use crate::described_cloud::DescribedCloud;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Variables by their names. Empty ones count as missing, as for Microsoft's SDK.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    /// What an address in them said of the cloud.
    cloud: Option<Arc<DescribedCloud>>,
}

impl Environment {
    /// Those of this process. Values that are no text are left out.
    pub fn of_process() -> Environment {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The cloud that described itself.
    pub(crate) fn cloud(&self) -> Option<&DescribedCloud> {
        self.cloud.as_deref()
    }

    pub(crate) fn with_cloud(&self, cloud: DescribedCloud) -> Environment {
        Environment { cloud: Some(Arc::new(cloud)), ..self.clone() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Environment {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Environment {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Environment { variables, cloud: None }
    }
}

/// The names only: values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
