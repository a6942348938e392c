//! Host-made noise against PyTorch (tests/golden/make_noise.py), and the words of `--noise`.

use serde::Deserialize;
use unnoise::noise::{NoiseKind, TorchCpu, TorchCuda, torch_cpu};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    seed: u64,
    draws: Vec<Draw>,
}

#[derive(Deserialize)]
struct Draw {
    size: usize,
    head: Vec<f32>,
    tail: Vec<f32>,
    sum: f64,
}

/// PyTorch's vector units and the host's libm may differ by an ulp of a value up to 6.
const TOLERANCE: f32 = 2e-6;

#[test]
fn torch_cpu_draws_what_pytorch_draws() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/noise.json")).unwrap();
    assert!(golden.cases.len() > 30);
    for case in golden.cases {
        let mut generator = TorchCpu::new(case.seed);
        for (i, draw) in case.draws.iter().enumerate() {
            let mut z = vec![f32::NAN; draw.size];
            generator.randn(&mut z);
            let name = format!("seed {}, draw {i} of {} elements", case.seed, draw.size);
            let tail = &z[z.len() - draw.tail.len()..];
            let kept = draw.head.iter().zip(&z).chain(draw.tail.iter().zip(tail));
            for (j, (expected, found)) in kept.enumerate() {
                let close = (expected - found).abs() <= TOLERANCE;
                assert!(close, "{name}: kept element {j}: expected {expected}, found {found}");
            }
            let sum: f64 = z.iter().map(|v| f64::from(*v)).sum();
            let close = (sum - draw.sum).abs() <= 1e-7 * draw.size as f64;
            assert!(close, "{name}: sum: expected {}, found {sum}", draw.sum);
        }
    }
}

#[test]
fn a_samples_torch_noise_does_not_depend_on_the_batch() {
    let whole = torch_cpu(3, 2, 5, 7, 0..5);
    let part = torch_cpu(3, 2, 5, 7, 2..4);
    assert_eq!(whole.len(), 2 * 5 * 7);
    assert_eq!(part[..14], whole[14..28]);
    assert_eq!(part[14..], whole[35 + 14..35 + 28]);
}

/// Below 16 elements, multiples of 16 and what lies between: the three ways a draw is made.
#[test]
fn a_part_of_a_torch_draw_is_a_slice_of_the_whole() {
    for n in [1, 2, 7, 15, 16, 17, 31, 32, 33, 47, 48, 100] {
        let mut generator = TorchCpu::new(9);
        let mut draws = [vec![0.0; n], vec![0.0; n]];
        draws.iter_mut().for_each(|whole| generator.randn(whole));
        for start in 0..=n {
            for end in start..=n {
                let part = torch_cpu(9, 2, n, 1, start..end);
                let expected = [&draws[0][start..end], &draws[1][start..end]].concat();
                assert_eq!(part, expected, "{start}..{end} of {n}");
            }
        }
    }
}

#[test]
fn torch_cuda_threads_are_those_of_known_gpus() {
    let many = 100_000_000;
    for (sms, threads) in [(28, 43008), (128, 196_608), (108, 221_184), (132, 270_336)] {
        let layout = TorchCuda::of(sms).layout(many);
        assert_eq!(layout.threads, threads, "{sms} multiprocessors");
        assert_eq!(layout.calls as u64, (many - 1) / (4 * threads as u64) + 1);
    }
}

#[test]
fn torch_cuda_runs_no_more_blocks_than_the_elements_need() {
    let gpu = TorchCuda::of(28);
    for (n, threads, calls) in [
        (1, 256, 1),
        (256, 256, 1),
        (257, 512, 1),
        (43008, 43008, 1),
        (4 * 43008, 43008, 1),
        (4 * 43008 + 1, 43008, 2),
    ] {
        let layout = gpu.layout(n);
        assert_eq!((layout.threads, layout.calls), (threads, calls), "{n} elements");
    }
}

#[test]
fn noise_words_are_parsed_and_printed() {
    let cuda = |sms, threads_per_sm| NoiseKind::TorchCuda(TorchCuda { sms, threads_per_sm });
    for (text, kind, printed) in [
        ("native", NoiseKind::Native, "native"),
        ("torch-cpu", NoiseKind::TorchCpu, "torch-cpu"),
        ("torch-cuda", cuda(128, 1536), "torch-cuda:128x1536"),
        ("torch-cuda:132", cuda(132, 2048), "torch-cuda:132x2048"),
        ("torch-cuda:68x1024", cuda(68, 1024), "torch-cuda:68x1024"),
    ] {
        let found: NoiseKind = text.parse().unwrap();
        assert_eq!(found, kind, "{text}");
        assert_eq!(found.to_string(), printed);
        assert_eq!(printed.parse::<NoiseKind>().unwrap(), kind);
    }
}

#[test]
fn bad_noise_words_are_named() {
    for text in ["", "torch", "native:3", "torch-cuda:", "torch-cuda:0", "torch-cuda:a"] {
        let error = text.parse::<NoiseKind>().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        let found = text.strip_prefix("torch-cuda:").unwrap_or(text);
        assert!(message.starts_with("--noise"), "{text}: {message}");
        assert!(message.contains(&format!("found {found:?}")), "{text}: {message}");
    }
    for text in ["torch-cuda:8x", "torch-cuda:8x255", "torch-cuda:4294967296", "torch-cuda:-1"] {
        assert!(text.parse::<NoiseKind>().is_err(), "{text}");
    }
}
