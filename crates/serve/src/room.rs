//! How many sequences of each model there are at a time, and how long they may be: known before the first of them.

use super::ServeError;
use super::options::Limits;
use olive_core::available::Available;
use olive_runtime::LoadedModel;

/// Sequences of a model at a time, where the operator does not say.
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
    /// A room for each of these models, which are loaded. All have as many sequences.
    ///
    /// # Errors
    /// More than a model looks at, or than fits into memory.
    pub(crate) fn of(models: &[(&str, &LoadedModel)], limits: &Limits) -> Result<Vec<Room>, ServeError> {
        let context =
            |(name, model): &(&str, &LoadedModel)| context(name, model.context_length(), limits.context);
        let contexts = models.iter().map(context).collect::<Result<Vec<_>, _>>()?;
        let bytes = models.iter().zip(&contexts).map(|((_, model), context)| model.cache_bytes(*context));
        let bytes = bytes.fold(0u64, u64::saturating_add);
        let available = Available::now().memory;
        let sequences = sequences(limits.sequences, bytes, available).map_err(|sequences| {
            let parts = models.iter().zip(&contexts).map(|((name, _), context)| match models {
                [_] => format!("{sequences} sequences of {context} positions"),
                _ => format!("{sequences} sequences of {context} positions for `{name}`"),
            });
            let needed = bytes.saturating_mul(sequences as u64) >> 20;
            let available = available.unwrap_or(u64::MAX) >> 20;
            ServeError::Memory { what: parts.collect::<Vec<_>>().join(" and "), needed, available }
        })?;
        let room = |context| Room { sequences, context, prefix_cache: limits.prefix_cache };
        Ok(contexts.into_iter().map(room).collect())
    }
}

/// Tokens of a prompt to `name` and its answer, of the `longest` that it looks at.
fn context(name: &str, longest: usize, asked: Option<usize>) -> Result<usize, ServeError> {
    match asked {
        Some(given) if given > longest => {
            Err(ServeError::Context { given, name: name.to_owned(), model: longest })
        }
        Some(given) => Ok(given),
        None => Ok(longest.min(CONTEXT)),
    }
}

/// How many sequences fit into four fifths of the memory that is available, where one of each model takes `bytes`; those
/// that do not fit, as an error.
fn sequences(asked: Option<usize>, bytes: u64, available: Option<u64>) -> Result<usize, usize> {
    let Some(available) = available else { return Ok(asked.unwrap_or(SEQUENCES)) };
    let fit = usize::try_from(available / 5 * 4 / bytes.max(1)).unwrap_or(usize::MAX);
    let sequences = asked.unwrap_or(SEQUENCES.min(fit.max(1)));
    if sequences <= fit { Ok(sequences) } else { Err(sequences) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_as_many_as_fit_and_those_asked_for_must() {
        assert_eq!(sequences(None, 10, None), Ok(8));
        assert_eq!(sequences(None, 10, Some(1000)), Ok(8));
        assert_eq!(sequences(None, 200, Some(1000)), Ok(4));
        assert_eq!(sequences(None, 2000, Some(1000)), Err(1));
        assert_eq!(sequences(Some(4), 200, Some(1000)), Ok(4));
        assert_eq!(sequences(Some(5), 200, Some(1000)), Err(5));
        assert_eq!(sequences(Some(500), 1, Some(1000)), Ok(500));
    }

    #[test]
    fn a_context_is_no_longer_than_the_model_looks() {
        assert_eq!(context("a", 100, None).unwrap(), 100);
        assert_eq!(context("a", 100_000, None).unwrap(), 8192);
        assert_eq!(context("a", 100_000, Some(9000)).unwrap(), 9000);
        assert!(matches!(context("a", 100, Some(101)), Err(ServeError::Context { given: 101, .. })));
    }
}
