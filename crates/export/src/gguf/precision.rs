//! Which type a tensor is stored as.
//!
//! Floats and Q8_0 as llama.cpp's converter has them, Q4_0 as its quantiser makes it of an f32 file: the head, or the embedding that
//! is one, is stored more finely.

use olive_kernels::quant::ggml::WrittenType;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
}

/// What a tensor is, as far as its type depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A norm, a bias, factors: as in the source, f32.
    Vector,
    Matrix,
    /// An embedding beside which there is a head.
    Embedding,
    /// The head, or an embedding that is one as well.
    Head,
}

impl Precision {
    /// `general.file_type`.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Precision::F32 => 0,
            Precision::F16 => 1,
            Precision::Q4_0 => 2,
            Precision::Q8_0 => 7,
            Precision::Bf16 => 32,
        }
    }

    /// For file names: `Q4_0`.
    pub fn label(self) -> &'static str {
        match self {
            Precision::F32 => "F32",
            Precision::F16 => "F16",
            Precision::Bf16 => "BF16",
            Precision::Q8_0 => "Q8_0",
            Precision::Q4_0 => "Q4_0",
        }
    }

    /// The type of a tensor with rows of so many values.
    pub(super) fn of(self, role: Role, row: usize) -> WrittenType {
        let fits = |block: WrittenType| row.is_multiple_of(block.ggml_type().block_values());
        let wanted = match (self, role) {
            (_, Role::Vector) | (Precision::F32, _) => WrittenType::F32,
            (Precision::F16, _) => WrittenType::F16,
            (Precision::Bf16, _) => WrittenType::Bf16,
            (Precision::Q8_0, _) => WrittenType::Q8_0,
            (Precision::Q4_0, Role::Matrix | Role::Embedding) => WrittenType::Q4_0,
            (Precision::Q4_0, Role::Head) if fits(WrittenType::Q6K) => WrittenType::Q6K,
            (Precision::Q4_0, Role::Head) => WrittenType::Q8_0,
        };
        if fits(wanted) { wanted } else { WrittenType::F16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_finer_and_rows_that_fit_no_block_are_floats() {
        let of = |role, row| Precision::Q4_0.of(role, row);
        assert_eq!(of(Role::Matrix, 576), WrittenType::Q4_0);
        assert_eq!(of(Role::Embedding, 576), WrittenType::Q4_0);
        assert_eq!(of(Role::Head, 576), WrittenType::Q8_0);
        assert_eq!(of(Role::Head, 768), WrittenType::Q6K);
        assert_eq!(of(Role::Matrix, 48), WrittenType::F16);
        assert_eq!(of(Role::Vector, 48), WrittenType::F32);
        assert_eq!(Precision::Q8_0.of(Role::Head, 40), WrittenType::F16);
    }
}
