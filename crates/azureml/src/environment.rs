//! The variables of the process, handed in: nothing else here asks for them.

use crate::cloud::Cloud;
use std::collections::HashMap;
use std::fmt;

/// Variables by their names. Empty ones count as missing, as for Microsoft's SDK.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    /// What an address in them said of the cloud.
    cloud: Option<Cloud>,
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

    pub(crate) fn cloud(&self) -> Option<Cloud> {
        self.cloud
    }

    pub(crate) fn with_cloud(&self, cloud: Cloud) -> Environment {
        Environment { cloud: Some(cloud), ..self.clone() }
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
