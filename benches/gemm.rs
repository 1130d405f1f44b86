//! Matrix products at the shapes of training: ours, the `gemm` crate with its own threading, and OpenBLAS through numpy.
//!
//! `cargo bench --bench gemm [-- --threads N] [--seconds 0.05] [--rounds 5] [--cpu] [FILTER]`
//!
//! `--cpu` counts the processor time of one thread each instead of the clock: what other programs take does not count.
//!
//! numpy is run by `OLIVE_PYTHON`, or `python3`; without it its column stays empty. The three take turns, and the best
//! time of each counts, because other programs disturb the clock. Weights are bf16 for ours, which decodes them while it
//! packs them, and f32 for the others.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use olive_kernels::{Orientation, Stored, matmul};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// One product: `c[m, n] = a[m, k] · b[k, n]`.
struct Shape {
    name: String,
    size: [usize; 3],
    /// Which operands are stored as their transposes.
    turned: [bool; 2],
    /// Whether B is a frozen weight.
    weight: bool,
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut add = |name: String, size, turned, weight| shapes.push(Shape { name, size, turned, weight });
    let smollm2 = [
        ("smollm2 q", 576, 576),
        ("smollm2 kv", 192, 576),
        ("smollm2 gate", 1536, 576),
        ("smollm2 down", 576, 1536),
        ("smollm2 head", 49_152, 576),
    ];
    let phi3 = [
        ("phi3 qkv", 9216, 3072),
        ("phi3 o", 3072, 3072),
        ("phi3 down", 3072, 8192),
        ("phi3 head", 32_064, 3072),
    ];
    for tokens in [128_usize, 512] {
        for (name, out, width) in smollm2.into_iter().chain(phi3) {
            // The loss takes the head in even chunks of rows.
            let chunks = if out > 30_000 { tokens.div_ceil((1 << 24) / out) } else { 1 };
            let rows = tokens.div_ceil(chunks);
            add(format!("{name} forward {rows}"), [rows, out, width], [false, true], true);
            add(format!("{name} backward {rows}"), [rows, width, out], [false, false], true);
        }
        for (width, rank) in [(576, 8), (576, 64), (3072, 64)] {
            let name = |what: &str| format!("lora r{rank} of {width} {what} {tokens}");
            add(name("x·Aᵀ"), [tokens, rank, width], [false, true], false);
            add(name("u·Bᵀ"), [tokens, width, rank], [false, true], false);
            add(name("dy·B"), [tokens, rank, width], [false, false], false);
            add(name("duᵀ·x"), [rank, width, tokens], [true, false], false);
            add(name("dyᵀ·u"), [width, rank, tokens], [true, false], false);
        }
    }
    add("attention q·kᵀ".into(), [64, 512, 64], [false, true], false);
    add("attention p·v".into(), [64, 64, 512], [false, false], false);
    add("square".into(), [2048, 2048, 2048], [false, false], false);
    shapes
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let cpu = arguments.iter().any(|a| a == "--cpu");
    let arguments: Vec<String> = arguments.into_iter().filter(|a| a != "--cpu").collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1));
    let threads: Option<usize> = match cpu {
        true => Some(1),
        false => value("--threads").map(|v| v.parse()).transpose()?,
    };
    let clock = if cpu { processor_seconds } else { wall_seconds };
    let seconds: f64 = value("--seconds").map_or(Ok(0.05), |v| v.parse())?;
    let rounds: usize = value("--rounds").map_or(Ok(5), |v| v.parse())?;
    let filter = match arguments.len() % 2 {
        1 => arguments.last().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = threads {
        pool = pool.num_threads(threads);
    }
    pool.build_global()?;
    let threads = rayon::current_num_threads();
    let mut numpy = Numpy::start(threads, cpu);
    let kernel = numpy.as_mut().map_or("no numpy", |n| &n.kernel);
    println!("{threads} threads; OpenBLAS: {kernel}\n");
    println!(
        "{:34} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "GFLOP/s", "ours", "crate", "OpenBLAS", "/crate", "/OpenBLAS"
    );
    let mut worst: Option<(f64, String)> = None;
    for shape in shapes().into_iter().filter(|s| s.name.contains(&filter)) {
        // On a thread of the pool, as in the command.
        let (ours, krate, openblas) =
            rayon::scope(|_| measure(&shape, numpy.as_mut(), seconds, rounds, clock))?;
        let cell = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.2}"));
        let ratio = openblas.map(|o| ours / o);
        println!(
            "{:34} {ours:8.1} {krate:8.1} {:>8} {:8.2} {:>8}",
            shape.name,
            openblas.map_or(String::new(), |x| format!("{x:.1}")),
            ours / krate,
            cell(ratio)
        );
        if let Some(ratio) = ratio
            && worst.as_ref().is_none_or(|(w, _)| ratio < *w)
        {
            worst = Some((ratio, shape.name));
        }
    }
    if let Some((ratio, name)) = worst {
        println!("\nworst beside OpenBLAS: {ratio:.2}, {name}");
    }
    Ok(())
}

/// GFLOP/s of ours, the crate and OpenBLAS.
fn measure(
    shape: &Shape,
    mut numpy: Option<&mut Numpy>,
    seconds: f64,
    rounds: usize,
    clock: fn() -> f64,
) -> Result<(f64, f64, Option<f64>), Error> {
    let [m, n, k] = shape.size;
    let values =
        |len: usize| (0..len).map(|i| ((i * 7919) % 1013) as f32 / 506.0 - 1.0).collect::<Vec<f32>>();
    let (a, b, mut c) = (values(m * k), values(k * n), vec![0.0; m * n]);
    let narrow: Vec<u8> = match shape.weight {
        true => b.iter().flat_map(|b| half::bf16::from_f32(*b).to_le_bytes()).collect(),
        false => Vec::new(),
    };
    let stored = if shape.weight { Stored::Bf16(&narrow) } else { Stored::F32(&b) };
    let lie = shape.turned.map(|turned| if turned { Orientation::Transposed } else { Orientation::AsIs });
    let mut best = [f64::INFINITY; 3];
    for _ in 0..rounds {
        best[0] = best[0].min(fastest(seconds, clock, || matmul(&mut c, &a, stored, [m, n, k], lie)));
        best[1] = best[1].min(fastest(seconds, clock, || by_crate(&mut c, &a, &b, shape)));
        if let Some(numpy) = numpy.as_deref_mut() {
            best[2] = best[2].min(numpy.run(shape, seconds)?);
            // OpenBLAS's threads spin for some 100 ms after their last product, and would take a core from the next run.
            std::thread::sleep(Duration::from_millis(150));
        }
    }
    let rate = |s: f64| 2.0 * (m * n * k) as f64 / s / 1e9;
    Ok((rate(best[0]), rate(best[1]), numpy.map(|_| rate(best[2]))))
}

fn wall_seconds() -> f64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_secs_f64()
}

/// Processor time of this process.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no such clock")]
fn processor_seconds() -> f64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const PROCESS_CPUTIME: i32 = 2;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` has the layout of `timespec` on 64-bit Linux.
    unsafe { clock_gettime(PROCESS_CPUTIME, &raw mut time) };
    time.seconds as f64 + time.nanoseconds as f64 * 1e-9
}

#[cfg(not(target_os = "linux"))]
fn processor_seconds() -> f64 {
    wall_seconds()
}

/// The shortest of the runs that fit into `seconds`.
fn fastest(seconds: f64, clock: fn() -> f64, mut run: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    while begun.elapsed().as_secs_f64() < seconds {
        let started = clock();
        run();
        best = best.min(clock() - started);
    }
    best
}

#[expect(unsafe_code, reason = "the crate takes pointers")]
fn by_crate(c: &mut [f32], a: &[f32], b: &[f32], shape: &Shape) {
    let [m, n, k] = shape.size;
    // Distance between columns, and between rows.
    let strides =
        |rows: usize, cols: usize, turned| if turned { (rows as isize, 1) } else { (1, cols as isize) };
    let ((a_col, a_row), (b_col, b_row)) = (strides(m, k, shape.turned[0]), strides(k, n, shape.turned[1]));
    assert!(c.len() == m * n && a.len() == m * k && b.len() == k * n, "the buffers hold the matrices");
    let parallel = gemm::Parallelism::Rayon(0);
    // SAFETY: just checked.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_col,
            a_row,
            b.as_ptr(),
            b_col,
            b_row,
            0.0,
            1.0,
            false,
            false,
            false,
            parallel,
        );
    }
}

/// A child that times `numpy.matmul` on request.
struct Numpy {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What OpenBLAS says it runs.
    kernel: String,
}

/// Reads `m n k turned_a turned_b seconds` and answers with the best time.
const SERVER: &str = "
import sys, time, numpy
clock = getattr(time, sys.argv[1])
print(numpy.__version__, flush=True)
held = {}
for line in sys.stdin:
    m, n, k, ta, tb, seconds = line.split()
    key = m, n, k, ta, tb = tuple(int(x) for x in (m, n, k, ta, tb))
    if key not in held:
        a = numpy.random.rand(*((k, m) if ta else (m, k))).astype('f')
        b = numpy.random.rand(*((n, k) if tb else (k, n))).astype('f')
        held = {key: (a.T if ta else a, b.T if tb else b, numpy.empty((m, n), 'f'))}
    a, b, c = held[key]
    begun, best = time.perf_counter(), 9e9
    while time.perf_counter() - begun < float(seconds):
        started = clock()
        numpy.matmul(a, b, out=c)
        best = min(best, clock() - started)
    print(best, flush=True)
";

impl Numpy {
    fn start(threads: usize, cpu: bool) -> Option<Numpy> {
        let python = std::env::var("OLIVE_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut child = Command::new(python)
            .args(["-c", SERVER, if cpu { "process_time" } else { "perf_counter" }])
            // Settings for other programs' sake that slow it down.
            .env_remove("OPENBLAS_CORETYPE")
            .env_remove("OPENBLAS_L2_SIZE")
            .env("OPENBLAS_NUM_THREADS", threads.to_string())
            .env("OPENBLAS_VERBOSE", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, output) = (child.stdin.take()?, child.stdout.take()?);
        let mut errors = BufReader::new(child.stderr.take()?);
        let mut output = BufReader::new(output);
        let mut version = String::new();
        output.read_line(&mut version).ok().filter(|n| *n > 0)?;
        let mut core = String::new();
        errors.read_line(&mut core).ok()?;
        let kernel = format!("numpy {}, {}", version.trim(), core.trim());
        Some(Numpy { child, input, output, kernel })
    }

    fn run(&mut self, shape: &Shape, seconds: f64) -> Result<f64, Error> {
        let ([m, n, k], [ta, tb]) = (shape.size, shape.turned.map(u8::from));
        writeln!(self.input, "{m} {n} {k} {ta} {tb} {seconds}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Numpy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
