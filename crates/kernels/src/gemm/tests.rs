//! Every way to compute a product against loops in f64.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx;
use super::band::{Band, Banded};
use super::matrix::{Assign, MatMut, MatRef};
use super::operand::{Decode, Precision, RightOperand, Stored};
use super::panels::Panels;
use super::portable;
use super::product::{gemm, gemm_serial, gemm_values};
use super::threads::Threads;
#[cfg(target_arch = "x86_64")]
use super::{blocked, kernel};

fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1013) as f32 / 506.0 - 1.0).collect()
}

/// A product with a writer of its own, so that every way to compute it can be tested.
type Product<'p> = dyn Fn(&mut MatMut, MatRef, RightOperand) + 'p;

fn check(name: &str, product: &Product) {
    for (m, n, k) in [(1, 5, 3), (33, 70, 129), (300, 520, 40), (64, 8, 900), (7, 300, 1), (100, 6, 803)] {
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        // Values that every storage type holds exactly.
        let b: Vec<f32> = b.iter().map(|b| half::bf16::from_f32(*b).to_f32().clamp(-1.0, 1.0)).collect();
        let b: Vec<f32> = b.iter().map(|b| if b.abs() < 1e-3 { 0.0 } else { *b }).collect();
        let bf16: Vec<u8> = b.iter().flat_map(|b| half::bf16::from_f32(*b).to_le_bytes()).collect();
        let f16: Vec<u8> = b.iter().flat_map(|b| half::f16::from_f32(*b).to_le_bytes()).collect();
        let [coded, rough] = [Coded(&b, Precision::F32), Coded(&b, Precision::Bits16)];
        let floats = [Stored::F32(&b), Stored::Bf16(&bf16), Stored::F16(&f16)];
        let exact = floats.into_iter().chain([Stored::Coded(&coded)]).map(|stored| (stored, 2e-4));
        let stored = exact.chain([(Stored::Coded(&rough), 2e-3)]);
        let turns = [(false, false), (true, false), (false, true), (true, true)];
        for ((stored, tolerance), (ta, tb)) in stored.flat_map(|s| turns.map(|t| (s, t))) {
            let at = |i: usize, l: usize| if ta { a[l * m + i] } else { a[i * k + l] };
            let bt = |l: usize, j: usize| if tb { b[j * k + l] } else { b[l * n + j] };
            let left = if ta { MatRef::new(&a, k, m, m).t() } else { MatRef::new(&a, m, k, k) };
            let right =
                if tb { RightOperand::new(stored, n, k).t() } else { RightOperand::new(stored, k, n) };
            let stride = n + 3;
            let mut c = values(m * stride, 3);
            let before = c.clone();
            product(&mut MatMut::new(&mut c, m, n, stride), left, right);
            for i in 0..m {
                for j in 0..n {
                    let exact: f64 = (0..k).map(|l| f64::from(at(i, l)) * f64::from(bt(l, j))).sum();
                    let want = f64::from(before[i * stride + j]) + 0.5 * exact;
                    let got = f64::from(c[i * stride + j]);
                    assert!(
                        (got - want).abs() < tolerance,
                        "{name} {m}x{n}x{k} at {i},{j}: {got} not {want}"
                    );
                }
                let gap = n..if i + 1 < m { stride } else { n };
                for j in gap {
                    assert_eq!(c[i * stride + j], before[i * stride + j], "the gap stays");
                }
            }
        }
    }
}

/// The contract of the AVX-512 kernel in plain code: machines without it test its packing and blocking at least.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a kernel takes pointers")]
unsafe fn plain_12x32(
    depth: usize,
    a: *const f32,
    [above, along]: [usize; 2],
    b: *const f32,
    tile: kernel::Tile,
) {
    for (i, j) in (0..tile.rows).flat_map(|i| (0..tile.cols).map(move |j| (i, j))) {
        // SAFETY: the caller's promise, as to the kernels proper: A has element (i, k) for every row of the tile and step of
        // the depth, and B is a panel of 32 values a step.
        let at = |k: usize| unsafe { *a.add(i * above + k * along) * *b.add(32 * k + j) };
        let sum: f32 = (0..depth).map(at).sum();
        // SAFETY: the caller's promise: element (i, j) of the tile lies in C, and nobody else has a reference to it.
        let c = unsafe { &mut *tile.c.add(i * tile.stride + j) };
        *c = if tile.add { *c } else { 0.0 } + tile.alpha * sum;
    }
}

struct Coded<'a>(&'a [f32], Precision);

impl Decode for Coded<'_> {
    fn decode(&self, range: std::ops::Range<usize>, out: &mut [f32]) {
        out.copy_from_slice(&self.0[range]);
    }

    fn precision(&self) -> Precision {
        self.1
    }
}

#[test]
fn products_of_every_orientation_and_storage_agree_with_loops() {
    check("portable", &|c, a, b| portable::product(c, Assign::Add, 0.5, a, b, Threads::Pool));
    #[cfg(target_arch = "x86_64")]
    let plain = kernel::Kernel { mr: 12, nr: 32, adjacent: plain_12x32, strided: plain_12x32 };
    #[cfg(target_arch = "x86_64")]
    for kernel in kernel::available().into_iter().chain([&plain]) {
        let name = format!("{}x{}", kernel.mr, kernel.nr);
        for threads in [Threads::Pool, Threads::Current] {
            check(&name, &|c, a, b| {
                let threads = threads.of_product([c.rows, c.cols, a.cols]);
                blocked::product(kernel, c, Assign::Add, 0.5, a, b, threads);
            });
        }
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if amx::available() {
        for threads in [1, 2] {
            check("amx", &|c, a, b| amx::product(c, Assign::Add, 0.5, a, b, threads));
        }
    }
}

#[test]
fn parts_of_a_packed_matrix_give_what_the_whole_does() {
    // A depth of more than one block.
    let (m, n, k) = (21, 150, 700);
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    for turned in [false, true] {
        let b = if turned { MatRef::new(&b, n, k, k).t() } else { MatRef::new(&b, k, n, n) };
        let mut panels = Panels::empty();
        panels.pack(b);
        for ([row, rows], [col, cols]) in [([0, k], [0, n]), ([0, 100], [32, 70]), ([300, 333], [64, 86])] {
            let a = MatRef::new(&a, m, k, k).columns(row, rows);
            let (mut got, mut want) = (values(m * cols, 3), values(m * cols, 3));
            let mut c = MatMut::new(&mut got, m, cols, cols);
            panels.product(&mut c, Assign::Add, 0.5, a, [row, col], Banded::No);
            let part = b.columns(col, cols).t().columns(row, rows).t();
            gemm_serial(&mut MatMut::new(&mut want, m, cols, cols), Assign::Add, 0.5, a, part);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 1e-4, "{got} not {want}");
            }
        }
    }
}

#[test]
fn a_slice_of_columns_is_taken_like_a_matrix_of_its_own() {
    // As many columns as dot products take, and the last row ends the data.
    let (m, k, stride) = (30, 160, 11);
    for n in [5, 8] {
        let (a, b) = (values(m * k, 1), values((k - 1) * stride + n, 2));
        let own: Vec<f32> = (0..k).flat_map(|l| b[l * stride..][..n].to_vec()).collect();
        let product = |b: MatRef| gemm_values(0.5, MatRef::new(&a, m, k, k), b);
        assert_eq!(product(MatRef::new(&b, k, n, stride)), product(MatRef::new(&own, k, n, n)));
    }
}

#[test]
fn a_band_leaves_out_what_is_zero_or_not_wanted() {
    let (m, n, k) = (50, 120, 310);
    let (mut a, b) = (values(m * k, 1), values(k * n, 2));
    let mut panels = Panels::empty();
    let panels = panels.pack(MatRef::new(&b, k, n, n));
    for (first, end) in [(-400, 9), (-400, 290), (200, 250), (-30, -5), (400, 500)] {
        let band = Band { first, end };
        for (i, row) in a.chunks_exact_mut(k).enumerate() {
            let seen = band.columns(i..i + 1, k);
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
        }
        let product = |banded| {
            let mut c = values(m * n, 3);
            let a = MatRef::new(&a, m, k, k);
            panels.product(&mut MatMut::new(&mut c, m, n, n), Assign::Add, 0.5, a, [0, 0], banded);
            c
        };
        let want = product(Banded::No);
        let got = product(Banded::Left(band));
        assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-4), "{band:?}");
        let got = product(Banded::Product(band));
        for (i, (got, want)) in got.chunks_exact(n).zip(want.chunks_exact(n)).enumerate() {
            let seen = band.columns(i..i + 1, n);
            assert_eq!(got[seen.clone()], want[seen], "{band:?}");
        }
        a = values(m * k, 1);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (m, n, k) = (200, 330, 1500);
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let mut c = vec![0.0; m * n];
        let (a, b) = (MatRef::new(&a, m, k, k), MatRef::new(&b, k, n, n));
        pool.install(|| gemm(&mut MatMut::new(&mut c, m, n, n), Assign::Replace, 0.7, a, b));
        c
    };
    let one = run(1);
    assert!([2, 3, 8].into_iter().all(|threads| run(threads) == one));
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_are_as_exact_as_f32() {
    let (m, n, k) = (70, 100, 1700);
    let fine = |n: usize, seed: u32| -> Vec<f32> {
        let random = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9e37_79b9).wrapping_mul(i as u32 | 1);
        (0..n).map(|i| random(i) as i32 as f32 / i32::MAX as f32).collect()
    };
    let (a, b) = (fine(m * k, 1), fine(k * n, 2));
    let bf16: Vec<u8> = b.iter().flat_map(|b| half::bf16::from_f32(*b).to_le_bytes()).collect();
    let short: Vec<f32> = b.iter().map(|b| half::bf16::from_f32(*b).to_f32()).collect();
    let Some(kernel) = kernel::best().filter(|_| amx::available()) else { return };
    let rough = Coded(&b, Precision::Bits16);
    for (stored, values, worse) in
        [(Stored::F32(&b), &b, 2.0), (Stored::Bf16(&bf16), &short, 2.0), (Stored::Coded(&rough), &b, 100.0)]
    {
        let product = |with: &dyn Fn(&mut MatMut, MatRef, RightOperand)| {
            let mut c = vec![0.0; m * n];
            with(
                &mut MatMut::new(&mut c, m, n, n),
                MatRef::new(&a, m, k, k),
                RightOperand::new(stored, k, n),
            );
            let errors = c.iter().enumerate().map(|(at, c)| {
                let (i, j) = (at / n, at % n);
                let exact: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(values[l * n + j])).sum();
                (f64::from(*c) - exact).powi(2)
            });
            (errors.sum::<f64>() / (m * n) as f64).sqrt()
        };
        let tiles = product(&|c, a, b| amx::product(c, Assign::Replace, 1.0, a, b, 1));
        let vectors = product(&|c, a, b| blocked::product(kernel, c, Assign::Replace, 1.0, a, b, 1));
        assert!(tiles < worse * vectors, "{tiles} with tiles, {vectors} with vectors");
    }
}
