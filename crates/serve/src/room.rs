//! How many sequences there are at a time, and how long they may be: known before the first of them.

use super::ServeError;
use super::options::Limits;
use olive_core::available::Available;
use olive_runtime::LoadedModel;

/// Sequences at a time, where the operator does not say.
const SEQUENCES: usize = 8;

/// Longest context, where the operator does not say.
const CONTEXT: usize = 8192;

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) sequences: usize,
    /// Tokens of a prompt and its answer.
    pub(crate) context: usize,
    pub(crate) prefix_cache: bool,
}

impl Room {
    /// # Errors
    /// More than the model looks at, or than fits into memory.
    pub(crate) fn of(model: &LoadedModel, limits: &Limits) -> Result<Room, ServeError> {
        let longest = model.context_length();
        let context = match limits.context {
            Some(given) if given > longest => return Err(ServeError::Context { given, model: longest }),
            Some(given) => given,
            None => longest.min(CONTEXT),
        };
        let sequences =
            sequences(limits.sequences, context, model.cache_bytes(context), Available::now().memory)?;
        Ok(Room { sequences, context, prefix_cache: limits.prefix_cache })
    }
}

/// How many sequences of `bytes` each fit into four fifths of the memory that is available.
fn sequences(
    asked: Option<usize>,
    positions: usize,
    bytes: u64,
    available: Option<u64>,
) -> Result<usize, ServeError> {
    let Some(available) = available else { return Ok(asked.unwrap_or(SEQUENCES)) };
    let fit = usize::try_from(available / 5 * 4 / bytes.max(1)).unwrap_or(usize::MAX);
    let sequences = asked.unwrap_or(SEQUENCES.min(fit.max(1)));
    if sequences <= fit {
        return Ok(sequences);
    }
    let needed = bytes.saturating_mul(sequences as u64) >> 20;
    Err(ServeError::Memory { sequences, positions, needed, available: available >> 20 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_as_many_as_fit_and_those_asked_for_must() {
        let fit = |asked, bytes, available| sequences(asked, 100, bytes, available).ok();
        assert_eq!(fit(None, 10, None), Some(8));
        assert_eq!(fit(None, 10, Some(1000)), Some(8));
        assert_eq!(fit(None, 200, Some(1000)), Some(4));
        assert_eq!(fit(None, 2000, Some(1000)), None);
        assert_eq!(fit(Some(4), 200, Some(1000)), Some(4));
        assert_eq!(fit(Some(5), 200, Some(1000)), None);
        assert_eq!(fit(Some(500), 1, Some(1000)), Some(500));
    }
}
