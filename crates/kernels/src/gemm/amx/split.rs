//! Packing for tiles: an f32 becomes the sum of three bf16, its leading 8 bits, the next 8 and the rest, which is exact
//! but for what is smaller than the least f32 of full precision.
//!
//! A tile of A has 16 rows of 32 steps. One of B has the steps of 16 columns in pairs: row p holds steps 2p and 2p + 1 of
//! each. Panels are two tiles wide; the terms of a step follow each other.

use super::super::matrix::MatRef;
use super::super::operand::{Precision, RightOperand, Stored};
use super::super::scratch::Scratch;
use super::tile::{LEFT, SIDE, STEPS, TILE, Terms};
use std::arch::x86_64::*;

/// Rows of a tile, and columns of one of B.
const ROWS: usize = 16;

/// Floats with strides of their own: element (i, k) is `data[i · apart + k · along]`, where one stride is 1.
#[derive(Clone, Copy)]
struct Floats<'a> {
    data: &'a [f32],
    apart: usize,
    along: usize,
}

/// The terms of 32 values, in their order.
type Split = [__m512i; 3];

/// Two registers of 16 floats as three of 32 bf16.
#[target_feature(enable = "avx512f,avx512bw")]
fn split(mut low: __m512, mut high: __m512) -> Split {
    // The upper half of every float.
    let upper: [u16; 32] = std::array::from_fn(|i| 2 * i as u16 + 1);
    #[expect(unsafe_code, reason = "SIMD loads")]
    // SAFETY: the array has the 64 bytes.
    let upper = unsafe { _mm512_loadu_si512(upper.as_ptr().cast()) };
    let mut terms = [_mm512_setzero_si512(); 3];
    for term in &mut terms {
        *term = _mm512_permutex2var_epi16(_mm512_castps_si512(low), upper, _mm512_castps_si512(high));
        (low, high) = (rest(low), rest(high));
    }
    terms
}

/// What is left of floats without their leading 8 bits.
#[target_feature(enable = "avx512f")]
fn rest(values: __m512) -> __m512 {
    let leading = _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(-0x1_0000));
    _mm512_sub_ps(values, _mm512_castsi512_ps(leading))
}

/// What follows element `at`; nothing where a tile begins behind the matrix.
#[inline(always)]
fn after<T>(data: &[T], at: usize) -> &[T] {
    data.get(at..).unwrap_or_default()
}

/// A mask of the first `count` of so many.
#[inline(always)]
fn first16(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

#[inline(always)]
fn first32(count: usize) -> __mmask32 {
    if count >= 32 { !0 } else { (1 << count) - 1 }
}

/// The first `count` floats of a slice; the others are zero.
#[target_feature(enable = "avx512f")]
fn load16(values: &[f32], count: usize) -> __m512 {
    let values = &values[..count.min(16)];
    #[expect(unsafe_code, reason = "SIMD loads")]
    // SAFETY: the mask leaves what the slice has.
    unsafe {
        _mm512_maskz_loadu_ps(first16(values.len()), values.as_ptr())
    }
}

#[target_feature(enable = "avx512f")]
fn load32(values: &[f32], count: usize) -> [__m512; 2] {
    [load16(values, count), load16(&values[count.min(16)..], count.saturating_sub(16))]
}

/// `out[j]` has the `j`-th of all `rows`, in dwords.
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = [_mm512_setzero_si512(); 16];
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut fours = [_mm512_setzero_si512(); 16];
    for i in (0..16).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Lane l of `fours[i + c]` has column 4l + c of rows i to i + 3.
    let mut columns = [_mm512_setzero_si512(); 16];
    for c in 0..4 {
        let [a, b] = [(fours[c], fours[4 + c]), (fours[8 + c], fours[12 + c])];
        let even = [_mm512_shuffle_i32x4::<0x88>(a.0, a.1), _mm512_shuffle_i32x4::<0x88>(b.0, b.1)];
        let odd = [_mm512_shuffle_i32x4::<0xdd>(a.0, a.1), _mm512_shuffle_i32x4::<0xdd>(b.0, b.1)];
        columns[c] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        columns[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        columns[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        columns[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}

/// 16 rows of 32 steps of which `rows` and `steps` are there, `(i, k)` at `i · apart + k · along`.
#[target_feature(enable = "avx512f")]
fn rows_of(floats: Floats<'_>, [row, step]: [usize; 2], [rows, steps]: [usize; 2]) -> [[__m512; 2]; 16] {
    let zero = _mm512_setzero_ps();
    let mut values = [[zero; 2]; 16];
    if floats.along == 1 {
        for (i, values) in values.iter_mut().enumerate().take(rows) {
            *values = load32(after(floats.data, (row + i) * floats.apart + step), steps);
        }
        return values;
    }
    for half in 0..2 {
        let mut columns = [_mm512_setzero_si512(); 16];
        for (k, column) in columns.iter_mut().enumerate().take(steps.saturating_sub(16 * half)) {
            let at = (step + 16 * half + k) * floats.along + row;
            *column = _mm512_castps_si512(load16(after(floats.data, at), rows));
        }
        for (values, row) in values.iter_mut().zip(transpose(columns)) {
            values[half] = _mm512_castsi512_ps(row);
        }
    }
    values
}

/// Writes 64 bytes.
#[target_feature(enable = "avx512f")]
fn store(out: &mut [u8], at: usize, value: __m512i) {
    let out = &mut out[at..at + 64];
    #[expect(unsafe_code, reason = "SIMD stores")]
    // SAFETY: the slice has the 64 bytes.
    unsafe {
        _mm512_storeu_si512(out.as_mut_ptr().cast(), value);
    }
}

/// Bytes of a panel of A of so many steps.
pub(super) fn left_bytes(steps: usize) -> usize {
    steps.div_ceil(STEPS) * LEFT
}

/// Bytes of a panel of B of so many steps.
pub(super) fn right_bytes(terms: Terms, steps: usize) -> usize {
    steps.div_ceil(STEPS) * terms.bytes()
}

/// Packs up to [`SIDE`] rows of `alpha · a` from `row` on, `len` steps from `start` on.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn pack_left(
    a: MatRef,
    alpha: f32,
    [row, rows]: [usize; 2],
    [start, len]: [usize; 2],
    out: &mut [u8],
) {
    let floats = Floats { data: a.data, apart: a.row_stride, along: a.col_stride };
    let alpha = _mm512_set1_ps(alpha);
    for (step, out) in (0..len).step_by(STEPS).zip(out.chunks_exact_mut(LEFT)) {
        for tile in 0..SIDE / ROWS {
            let rows = rows.saturating_sub(tile * ROWS).min(ROWS);
            let values = rows_of(floats, [row + tile * ROWS, start + step], [rows, STEPS.min(len - step)]);
            for (i, [low, high]) in values.into_iter().enumerate() {
                let terms = split(_mm512_mul_ps(alpha, low), _mm512_mul_ps(alpha, high));
                for (term, value) in terms.into_iter().enumerate() {
                    store(out, (2 * term + tile) * TILE + 64 * i, value);
                }
            }
        }
    }
}

/// The terms that the values of an operand have.
pub(super) fn terms_of(b: &RightOperand) -> Terms {
    match b.stored {
        Stored::Bf16(_) => Terms::One,
        Stored::Coded(matrix) if matrix.precision() == Precision::Bits16 => Terms::Two,
        Stored::F32(_) | Stored::F16(_) | Stored::Coded(_) => Terms::Three,
    }
}

/// Packs `width` columns from `col` on in panels of [`SIDE`], `len` steps from `start` on. `decoded` is room for values that
/// are not stored as floats.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn pack_right(
    b: &RightOperand,
    [start, len]: [usize; 2],
    [col, width]: [usize; 2],
    decoded: &mut Scratch,
    out: &mut [u8],
) {
    let (steps, columns) = (b.row_stride, b.col_stride);
    let from = start * steps + col * columns;
    let floats = match b.stored {
        Stored::Bf16(bytes) => {
            return pack_bf16(&bytes.as_chunks().0[from..], [steps, columns], [len, width], out);
        }
        Stored::F32(values) => Floats { data: &values[from..], apart: columns, along: steps },
        Stored::F16(_) | Stored::Coded(_) if columns == 1 => {
            let values = decoded.floats(len * width);
            for (k, row) in values.chunks_exact_mut(width).take(len).enumerate() {
                b.run(from + k * steps, row);
            }
            Floats { data: values, apart: 1, along: width }
        }
        Stored::F16(_) | Stored::Coded(_) => {
            let values = decoded.floats(len * width);
            for (j, column) in values.chunks_exact_mut(len).take(width).enumerate() {
                b.run(from + j * columns, column);
            }
            Floats { data: values, apart: len, along: 1 }
        }
    };
    pack_floats(terms_of(b), floats, [len, width], out);
}

/// The place of a tile in a panel of B.
struct Place {
    /// Byte in the packed panels, of its first term.
    at: usize,
    /// Its first column and step.
    column: usize,
    step: usize,
}

/// The tiles of B's panels.
fn places(terms: Terms, [len, width]: [usize; 2]) -> impl Iterator<Item = Place> {
    let panel = right_bytes(terms, len);
    (0..width.next_multiple_of(SIDE)).step_by(ROWS).flat_map(move |column| {
        let at = column / SIDE * panel + column % SIDE / ROWS * TILE;
        (0..len).step_by(STEPS).map(move |step| Place { at: at + step / STEPS * terms.bytes(), column, step })
    })
}

/// Columns are the floats' rows.
#[target_feature(enable = "avx512f,avx512bw")]
fn pack_floats(terms: Terms, floats: Floats<'_>, [len, width]: [usize; 2], out: &mut [u8]) {
    let zero = _mm512_setzero_si512();
    for Place { at, column, step } in places(terms, [len, width]) {
        let (columns, steps) = (width.saturating_sub(column).min(ROWS), STEPS.min(len - step));
        if floats.along == 1 {
            let mut parts = [[zero; 16]; 3];
            for (j, [low, high]) in rows_of(floats, [column, step], [columns, steps]).into_iter().enumerate()
            {
                for (part, value) in parts.iter_mut().zip(split(low, high)) {
                    part[j] = value;
                }
            }
            for (term, columns) in parts.into_iter().enumerate().take(terms.count()) {
                for (pair, value) in transpose(columns).into_iter().enumerate() {
                    store(out, at + 2 * term * TILE + 64 * pair, value);
                }
            }
            continue;
        }
        for pair in 0..ROWS {
            let row = |k: usize| match k < steps {
                true => load16(after(floats.data, (step + k) * floats.along + column), columns),
                false => _mm512_setzero_ps(),
            };
            let (mut even, mut odd) = (row(2 * pair), row(2 * pair + 1));
            for term in 0..terms.count() {
                let lower = _mm512_srli_epi32::<16>(_mm512_castps_si512(even));
                let upper = _mm512_and_si512(_mm512_castps_si512(odd), _mm512_set1_epi32(-0x1_0000));
                store(out, at + 2 * term * TILE + 64 * pair, _mm512_or_si512(lower, upper));
                (even, odd) = (rest(even), rest(odd));
            }
        }
    }
}

/// As [`pack_floats`], for what is stored as bf16: element (k, j) is `data[k · along + j · apart]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn pack_bf16(data: &[[u8; 2]], [along, apart]: [usize; 2], [len, width]: [usize; 2], out: &mut [u8]) {
    for Place { at, column, step } in places(Terms::One, [len, width]) {
        let (columns, steps) = (width.saturating_sub(column).min(ROWS), STEPS.min(len - step));
        let mut tile = [_mm512_setzero_si512(); 16];
        if along == 1 {
            for (j, row) in tile.iter_mut().enumerate().take(columns) {
                *row = load_bf16(&data[(column + j) * apart + step..][..steps]);
            }
            tile = transpose(tile);
        } else {
            for (pair, row) in tile.iter_mut().enumerate() {
                let half = |k: usize| match k < steps {
                    true => load_bf16(&after(data, (step + k) * along + column)[..columns]),
                    false => _mm512_setzero_si512(),
                };
                let wide = |half| _mm512_cvtepu16_epi32(_mm512_castsi512_si256(half));
                let [even, odd] = [wide(half(2 * pair)), wide(half(2 * pair + 1))];
                *row = _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd));
            }
        }
        for (pair, value) in tile.into_iter().enumerate() {
            store(out, at + 64 * pair, value);
        }
    }
}

/// Up to 32 halves; the others are zero.
#[target_feature(enable = "avx512f,avx512bw")]
fn load_bf16(values: &[[u8; 2]]) -> __m512i {
    #[expect(unsafe_code, reason = "SIMD loads")]
    // SAFETY: the mask leaves what the slice has.
    unsafe {
        _mm512_maskz_loadu_epi16(first32(values.len()), values.as_ptr().cast())
    }
}
