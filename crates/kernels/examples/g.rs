use olive_kernels::*;
use std::time::Instant;
fn main() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(std::env::args().nth(1).map_or(2, |s| s.parse().unwrap()))
        .build()
        .unwrap();
    pool.install(|| {
        for (m, n, k) in if std::env::args().nth(2).is_some() {
            vec![(512, 1536, 576)]
        } else {
            vec![
                (128, 576, 576),
                (128, 1536, 576),
                (128, 576, 1536),
                (512, 192, 576),
                (512, 576, 576),
                (512, 1536, 576),
                (512, 576, 1536),
                (1024, 1536, 576),
                (256, 49152, 576),
                (128, 3072, 3072),
                (512, 3072, 8192),
            ]
        } {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7919) % 1013) as f32 / 506. - 1.).collect();
            let w: Vec<u8> = (0..n * k)
                .flat_map(|i| half::bf16::from_f32(((i * 104729) % 1013) as f32 / 506. - 1.).to_le_bytes())
                .collect();
            let wf: Vec<f32> =
                w.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32() * 1.001).collect();
            let mut c = vec![0f32; m * n];
            print!("{m:5} {n:6} {k:5} ");
            for (s, lie) in [
                (Stored::Bf16(&w), Orientation::Transposed),
                (Stored::Bf16(&w), Orientation::AsIs),
                (Stored::F32(&wf), Orientation::Transposed),
                (Stored::F32(&wf), Orientation::AsIs),
            ] {
                let mut best = f64::MAX;
                let t0 = Instant::now();
                let mut i = 0;
                while i < 3
                    || t0.elapsed().as_secs_f64()
                        < (if std::env::args().nth(2).is_some() { 2.0 } else { 0.4 })
                {
                    let t = Instant::now();
                    matmul(&mut c, &a, s, [m, n, k], [Orientation::AsIs, lie]);
                    best = best.min(t.elapsed().as_secs_f64());
                    i += 1;
                }
                print!(" {:7.0}", 2.0 * (m * n * k) as f64 / best / 1e9);
            }
            println!();
        }
    });
}
