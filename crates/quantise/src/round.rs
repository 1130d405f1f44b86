//! Codes of a matrix from its values alone.

use super::gptq::ModuleCodes;
use olive_kernels::quant::packing::pack;
use olive_kernels::quant::{Grid, Scheme, least_squares_grid};
use olive_model::PackedCodes;
use rayon::prelude::*;

/// How the grid of a group is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridSearch {
    /// From the least to the greatest value.
    Range,
    /// The least weighted squared error of some grids around it.
    LeastSquares,
}

/// Rows of a matrix that a thread works on at a time.
const ROWS: usize = 64;

/// Codes of `values`, `[rows, width]`.
pub fn round_to_grids(values: &[f32], width: usize, scheme: Scheme, search: GridSearch) -> PackedCodes {
    let group = scheme.group_of(width);
    let parts: Vec<(Vec<u8>, Vec<Grid>)> = values
        .par_chunks(ROWS * width.max(1))
        .map(|rows| {
            let mut codes = Vec::with_capacity(rows.len());
            let mut grids = Vec::with_capacity(rows.len() / group + 1);
            for row in rows.chunks_exact(width.max(1)) {
                for group in row.chunks(group) {
                    let grid = match search {
                        GridSearch::Range => scheme.grid(group),
                        GridSearch::LeastSquares => least_squares_grid(&scheme, group),
                    };
                    codes.extend(group.iter().map(|value| grid.code(*value) as u8));
                    grids.push(grid);
                }
            }
            (codes, grids)
        })
        .collect();
    let grids: Vec<Grid> = parts.iter().flat_map(|(_, grids)| grids).copied().collect();
    let codes = parts.par_iter().flat_map_iter(|(codes, _)| pack(codes, width, scheme.bits)).collect();
    packed(codes, &grids, width, scheme)
}

impl ModuleCodes {
    /// As the file has them.
    pub fn packed(&self) -> PackedCodes {
        let codes = pack(&self.chosen.codes, self.width, self.scheme.bits);
        packed(codes, &self.chosen.grids, self.width, self.scheme)
    }
}

fn packed(codes: Vec<u8>, grids: &[Grid], width: usize, scheme: Scheme) -> PackedCodes {
    let zeros: Vec<u8> = match scheme.symmetric {
        true => Vec::new(),
        false => grids.iter().map(|grid| grid.zero as u8).collect(),
    };
    let groups = width.div_ceil(scheme.group_of(width));
    let zeros = pack(&zeros, groups, scheme.bits);
    PackedCodes { codes, scales: grids.iter().map(|grid| grid.scale).collect(), zeros }
}
