//! What can go wrong with the cache.

use olive_core::shown;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(
        "the cache is locked by another process in a way that cannot be waited for (`{}`): {reason}",
        shown(path)
    )]
    Lock { path: PathBuf, reason: String },
    #[error("`{}` in the cache is a symbolic link, which is not followed", shown(path))]
    Link { path: PathBuf },
    #[error("`{}` changed while it was worked on; what was made of it is not kept", shown(path))]
    InputChanged { path: PathBuf },
    #[error("`{}` is not what its manifest says", path.display())]
    Foreign { path: PathBuf },
    #[error("{}", match found { 0 => format!("no artefact's key begins with `{key}`"), n => format!("{n} keys begin with `{key}`") })]
    NoArtefact { key: String, found: usize },
}

impl olive_core::Fault for CacheError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            CacheError::Lock { .. } => "use a cache folder on a local file system".into(),
            CacheError::Link { .. } => "remove the link; a cache elsewhere is given with `cache_dir`".into(),
            CacheError::InputChanged { .. } => "run again when nobody writes to it".into(),
            CacheError::Foreign { .. } => {
                "it may have been damaged on its way; run again to fetch it anew".into()
            }
            CacheError::NoArtefact { .. } => "`olive cache ls` lists the keys".into(),
        })
    }

    /// 2 where the call is to blame, else 1.
    fn exit_code(&self) -> u8 {
        match self {
            CacheError::NoArtefact { .. } => 2,
            _ => 1,
        }
    }
}
