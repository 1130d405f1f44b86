//! `olive doctor`.

use super::Globals;
use crate::Result;

pub(crate) fn run(_globals: &Globals) -> Result<()> {
    Ok(())
}
