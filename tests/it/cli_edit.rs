//! `unnoise sample` with pictures: files, words and exit codes.

use super::binary::Place;
use super::cli::npy;
use image::GrayImage;
use std::fs;
use std::os::unix::fs::symlink;

/// A picture whose left half is black and whose right half is white.
fn halves(place: &Place, name: &str, side: u32) {
    let shade = |x: u32| if x < side / 2 { 0 } else { 255 };
    GrayImage::from_fn(side, side, |x, _| image::Luma([shade(x)])).save(place.path(name)).unwrap();
}

const FEW: &str = "--class 3 --count 2 --steps 4 --device cpu";

#[test]
fn a_picture_is_repainted_where_the_mask_is_white() {
    let place = Place::new();
    halves(&place, "halves.png", 32);
    let command = format!("sample --init halves.png --mask halves.png {FEW} --out out.npy");
    let ran = place.run(&command);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (shape, x) = npy(&place.path("out.npy"));
    assert_eq!(shape, [2, 1, 32, 32]);
    assert!(x.iter().enumerate().filter(|(i, _)| i % 32 < 16).all(|(_, x)| *x == -1.0));
    assert!(x.iter().enumerate().any(|(i, x)| i % 32 >= 16 && *x != 1.0));
}

/// What is kept of a picture comes back as it was, in whichever range the model has it.
#[test]
fn pictures_go_in_and_out_in_the_range_of_the_model() {
    let place = Place::new();
    let from = format!("{}/models/digits-cm", env!("CARGO_MANIFEST_DIR"));
    for file in ["config.json", "scheduler", "diffusion_pytorch_model.safetensors"] {
        symlink(format!("{from}/{file}"), place.path(file)).unwrap();
    }
    fs::write(place.path("unnoise.json"), r#"{"range": [0, 1], "steps": 2}"#).unwrap();
    halves(&place, "a.png", 32);
    GrayImage::from_fn(32, 32, |_, y| image::Luma([if y < 16 { 0 } else { 255 }]))
        .save(place.path("mask.png"))
        .unwrap();
    let run = "sample . --init a.png --mask mask.png --count 1 --device cpu --out";
    for out in ["out.npy", "out/"] {
        let ran = place.run(&format!("{run} {out}"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let (_, x) = npy(&place.path("out.npy"));
    let drawn = image::open(place.path("out/000000.png")).unwrap().into_luma8();
    for (i, x) in x.iter().enumerate() {
        let byte = drawn.get_pixel(i as u32 % 32, i as u32 / 32).0[0];
        assert_eq!(f32::from(byte), (255.0 * x.clamp(0.0, 1.0)).round_ties_even());
        if i < 512 {
            assert_eq!(*x, if i % 32 < 16 { 0.0 } else { 1.0 }, "pixel {i}");
        }
    }
}

#[test]
fn states_go_out_and_come_in_again() {
    let place = Place::new();
    halves(&place, "a.png", 32);
    let to = format!("sample --solver ddim-inversion --init a.png {FEW} --guidance 1");
    for out in ["state.npy", "state.safetensors"] {
        assert_eq!(place.run(&format!("{to} --out {out}")).code, 0);
        let way = format!("sample --latent {out} --interpolate {FEW} --out back.npy");
        let ran = place.run(&way);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(npy(&place.path("back.npy")).0, [2, 1, 32, 32]);
    }
    let ran = place.run(&format!("sample --solver ddim-inversion {FEW} --out x.npy"));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--init"), "{}", ran.stderr);
}

/// A folder knows what its samples began with, and is not gone on with by another picture.
#[test]
fn a_folder_belongs_to_its_picture() {
    let place = Place::new();
    halves(&place, "a.png", 32);
    GrayImage::new(32, 32).save(place.path("b.png")).unwrap();
    let run = |init: &str| place.run(&format!("sample --init {init} {FEW} --out folder/"));
    assert_eq!(run("a.png").code, 0);
    assert_eq!(run("a.png").code, 0);
    let other = run("b.png");
    assert_eq!(other.code, 2, "{}", other.stderr);
    assert!(other.stderr.contains("options"), "{}", other.stderr);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let place = Place::new();
    halves(&place, "small.png", 20);
    halves(&place, "right.png", 32);
    std::fs::write(place.path("cut.png"), &std::fs::read(place.path("right.png")).unwrap()[..60])
        .unwrap();
    std::fs::write(place.path("cut.npy"), b"\x93NUMPY").unwrap();
    std::fs::write(place.path("bad.safetensors"), b"no").unwrap();
    let cases = [
        ("--init small.png", "32 high and 32 wide"),
        ("--init cut.png", "a whole PNG file"),
        ("--init none.png", "none.png"),
        ("--init right.jpg", ".png, .npy or .safetensors"),
        ("--latent cut.npy", ".npy"),
        ("--latent bad.safetensors", "a whole .safetensors file"),
        ("--init right.png --mask small.png", "--mask"),
        ("--init right.png --strength 2", "--strength"),
        ("--init right.png --strength x", "--strength"),
        ("--colorize right.png", "several channels"),
        ("--upscale right.png", "--upscale"),
        ("--init right.png --upscale right.png", "cannot be used with"),
        ("--mask right.png", "--init"),
    ];
    for (flags, expected) in cases {
        let ran = place.run(&format!("sample {flags} {FEW} --out x.npy"));
        assert_eq!(ran.code, 2, "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{flags}: '{}' lacks '{expected}'", ran.stderr);
    }
    assert!(!place.path("x.npy").exists());
}
