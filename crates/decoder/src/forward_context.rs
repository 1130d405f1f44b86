//! What all layers share while some tokens go through them.

use super::tokens::Tokens;
use super::training_mode::DropoutKey;
use super::weights::Decoder;
use olive_arch::Rope;
use olive_core::Result;
use olive_kernels::{RotaryPairs, RotaryTables, Segments};

/// Borders of the sequences, rotations of the positions, and dropout, the same in every layer.
pub(super) struct ForwardContext {
    pub(super) segments: Segments,
    pub(super) global: RotaryTables,
    pub(super) local: Option<RotaryTables>,
    /// Dropout on the inputs of adapter branches, in training.
    pub(super) dropout: Option<DropoutKey>,
}

impl ForwardContext {
    /// For tokens at `positions` of sequences that will be `sequence_length` long.
    pub(super) fn new(
        decoder: &Decoder,
        positions: &[u32],
        sequence_length: usize,
        segments: Segments,
        dropout: Option<DropoutKey>,
    ) -> Result<ForwardContext> {
        let tables = |rope: &Rope| {
            let (frequencies, scale) = rope.inverse_frequencies(sequence_length);
            let pairs = if rope.interleaved { RotaryPairs::Neighbours } else { RotaryPairs::Halves };
            RotaryTables::new(&frequencies, scale, pairs, positions, &decoder.device)
        };
        Ok(ForwardContext {
            segments,
            global: tables(&decoder.spec.rope)?,
            local: decoder.spec.rope_local.as_ref().map(tables).transpose()?,
            dropout,
        })
    }

    /// For whole sequences.
    pub(super) fn of_tokens(
        decoder: &Decoder,
        tokens: &Tokens,
        dropout: Option<DropoutKey>,
    ) -> Result<ForwardContext> {
        Self::new(decoder, &tokens.positions(), tokens.sequence_length, tokens.segments(), dropout)
    }
}
