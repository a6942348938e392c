//! What samples become on disk, read back by other code than wrote it.

use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};
use unnoise::output::{Batch, Identity, Run, Target};

const SHAPE: [usize; 3] = [1, 2, 3];
const SIZE: usize = 6;

fn run(count: usize) -> Run {
    Run {
        identity: Identity {
            model: "digits".into(),
            fingerprint: "0123".into(),
            solver: "ddim".into(),
            steps: 50,
            guidance: 7.1,
            eta: None,
            clipped_eps: true,
            options: Default::default(),
            seed: u64::MAX,
            noise: "native".into(),
            precision: "f32".into(),
            classes: Some("all".into()),
            count,
        },
        shape: SHAPE,
        indices: 0..count,
        shard: (1, 1),
        class_names: Vec::new(),
        range: [-1.0, 1.0],
    }
}

/// Sample i of shape `SHAPE`: -1, -0.6 .. 1 and then shifted by i / 10.
fn sample(i: usize) -> Vec<f32> {
    (0..SIZE).map(|j| -1.0 + 0.4 * j as f32 + 0.1 * i as f32).collect()
}

fn samples(indices: &[usize]) -> Vec<f32> {
    indices.iter().flat_map(|&i| sample(i)).collect()
}

/// Writes samples 0..count in batches of two, the second batch first.
fn save(path: &Path, count: usize) {
    let mut writer = Target::open(path, SHAPE, count, 1).unwrap().begin(run(count)).unwrap();
    let pending = writer.pending();
    let batches: Vec<&[usize]> = pending.chunks(2).collect();
    for indices in batches.into_iter().rev() {
        let classes: Vec<u32> = indices.iter().map(|&i| i as u32 % 10).collect();
        let data = samples(indices);
        writer.write(Batch { indices, classes: Some(&classes), data: &data }).unwrap();
    }
    writer.finish().unwrap();
}

fn message<T: std::fmt::Debug>(result: unnoise::error::Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn there(folder: &TempDir, name: &str) -> std::path::PathBuf {
    folder.path().join(name)
}

#[test]
fn npy_holds_every_sample_in_order() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "a.npy");
    save(&path, 5);
    let bytes = fs::read(&path).unwrap();
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(npy.shape(), [5, 1, 2, 3]);
    assert_eq!(npy.into_vec::<f32>().unwrap(), samples(&[0, 1, 2, 3, 4]));
    assert_eq!(names(folder.path()), ["a.npy"]);
}

#[test]
fn safetensors_hold_samples_labels_and_the_run() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "a.safetensors");
    save(&path, 5);
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let found = tensors.tensor("samples").unwrap();
    assert_eq!(found.shape(), [5, 1, 2, 3]);
    let floats: Vec<f32> = bytemuck::pod_collect_to_vec(found.data());
    assert_eq!(floats, samples(&[0, 1, 2, 3, 4]));
    let labels = tensors.tensor("labels").unwrap();
    assert_eq!(bytemuck::pod_collect_to_vec::<u8, i64>(labels.data()), [0, 1, 2, 3, 4]);
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let written = &header.metadata().as_ref().unwrap()["run"];
    assert_eq!(serde_json::from_str::<Identity>(written).unwrap().seed, u64::MAX);

    let again = there(&folder, "b.safetensors");
    save(&again, 5);
    assert!(bytes == fs::read(again).unwrap(), "the same run gives the same bytes");
}

#[test]
fn a_grid_shows_samples_and_captions() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "a.png");
    save(&path, 4);
    let picture = image::open(&path).unwrap().into_luma8();
    // 2 x 2 cells of 3 x 2 pixels, 21 times enlarged, captions of 11 pixels and gaps of 4.
    assert_eq!(picture.dimensions(), (4 + 2 * (63 + 4), 4 + 2 * (42 + 11 + 4)));
    for (x, y, value) in [(4, 4, -1.0f32), (66, 45, 1.0), (71, 4, -0.9), (4, 61, -0.8)] {
        let expected = ((value / 2.0 + 0.5) * 255.0).round() as u8;
        let found = picture.get_pixel(x, y).0[0];
        assert!(found.abs_diff(expected) <= 1, "at {x}, {y}: {found}, expected {expected}");
    }
    let strip = |left: u32| -> Vec<u8> {
        (0..63 * 11).map(|i| picture.get_pixel(left + i % 63, 46 + i / 63).0[0]).collect()
    };
    assert!(strip(4).iter().any(|&v| v < 128), "no caption below the first sample");
    assert_ne!(strip(4), strip(71), "captions 0 and 1 look the same");
}

#[test]
fn colours_keep_their_channels() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "a.png");
    let shape = [3, 64, 64];
    let mut of = run(1);
    of.shape = shape;
    let mut writer = Target::open(&path, shape, 1, 1).unwrap().begin(of).unwrap();
    let data: Vec<f32> = [1.0, -1.0, 0.0].iter().flat_map(|&v| vec![v; 64 * 64]).collect();
    writer.write(Batch { indices: &[0], classes: None, data: &data }).unwrap();
    writer.finish().unwrap();
    let picture = image::open(&path).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (72, 72), "no caption without classes");
    assert_eq!(picture.get_pixel(36, 36).0, [255, 0, 128]);
}

#[test]
fn a_folder_goes_on_where_it_was_left() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "run");
    let begin = |of: Run| Target::open(&path, SHAPE, of.identity.count, 1).unwrap().begin(of);
    let mut writer = begin(run(4)).unwrap();
    let data = samples(&[0, 2]);
    writer.write(Batch { indices: &[0, 2], classes: Some(&[0, 2]), data: &data }).unwrap();
    writer.abandon().unwrap();
    assert_eq!(names(&path), ["000000.png", "000002.png", "manifest.json"]);
    assert_eq!(begin(run(4)).unwrap().pending(), [1, 3]);

    // A file that was deleted is drawn again, one that is not listed too.
    fs::remove_file(path.join("000002.png")).unwrap();
    fs::write(path.join("000003.png"), "half").unwrap();
    assert_eq!(begin(run(4)).unwrap().pending(), [1, 2, 3]);
    save(&path, 4);
    assert_eq!(begin(run(4)).unwrap().pending(), [0usize; 0]);
    // So is one that lost its bytes.
    fs::write(path.join("000001.png"), "").unwrap();
    assert_eq!(begin(run(4)).unwrap().pending(), [1]);
    let picture = image::open(path.join("000003.png")).unwrap().into_luma8();
    assert_eq!(picture.dimensions(), (3, 2));
}

#[test]
fn a_folder_of_another_run_is_refused() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "run");
    save(&path, 2);
    let begin = |of: Run| Target::open(&path, SHAPE, 2, 1).unwrap().begin(of);
    let mut other = run(2);
    other.identity.guidance = 3.0;
    let text = message(begin(other));
    for part in ["manifest.json: guidance", "expected 3.0", "found 7.1", "another folder"] {
        assert!(text.contains(part), "{text}");
    }

    let mut other = run(2);
    other.identity.fingerprint = "4567".into();
    let text = message(begin(other));
    assert!(text.contains("manifest.json: fingerprint: expected \"4567\""), "{text}");

    fs::write(path.join("manifest.json"), "{\"identity\": {}}").unwrap();
    let text = message(begin(run(2)));
    assert!(text.contains("manifest.json: expected the manifest of a run"), "{text}");

    fs::remove_file(path.join("manifest.json")).unwrap();
    let text = message(begin(run(2)));
    assert!(text.contains("000000.png") && text.contains("an unknown run"), "{text}");
}

#[test]
fn shards_share_a_folder() {
    let folder = tempdir().unwrap();
    let path = there(&folder, "run");
    let shard = |index: usize| {
        let mut of = run(5);
        (of.indices, of.shard) = (if index == 1 { 0..2 } else { 2..5 }, (index, 2));
        Target::open(&path, SHAPE, 5, 1).unwrap().begin(of).unwrap()
    };
    let (mut first, mut second) = (shard(1), shard(2));
    for (writer, indices) in [(&mut second, vec![2, 3, 4]), (&mut first, vec![0, 1])] {
        assert_eq!(writer.pending(), indices);
        let data = samples(&indices);
        writer.write(Batch { indices: &indices, classes: None, data: &data }).unwrap();
    }
    first.finish().unwrap();
    second.finish().unwrap();
    let all = Target::open(&path, SHAPE, 5, 1).unwrap().begin(run(5)).unwrap();
    assert_eq!(all.pending(), [0usize; 0], "the whole run sees what its shards drew");
    let manifests = names(&path).into_iter().filter(|n| n.starts_with("manifest"));
    assert!(manifests.eq(["manifest-1-of-2.json", "manifest-2-of-2.json", "manifest.json"]));
}

#[test]
fn what_is_no_picture_becomes_arrays() {
    let folder = tempdir().unwrap();
    let shape = [4, 1, 2];
    let text = message(Target::open(there(&folder, "a.png"), shape, 1, 1));
    assert!(text.contains("4 channels") && text.contains(".safetensors"), "{text}");
    let path = there(&folder, "run");
    let mut of = run(1);
    of.shape = shape;
    let mut writer = Target::open(&path, shape, 1, 1).unwrap().begin(of).unwrap();
    let data: Vec<f32> = (0..8).map(|v| v as f32).collect();
    writer.write(Batch { indices: &[0], classes: None, data: &data }).unwrap();
    writer.finish().unwrap();
    let bytes = fs::read(path.join("000000.npy")).unwrap();
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(npy.shape(), shape.map(|n| n as u64));
    assert_eq!(npy.into_vec::<f32>().unwrap(), data);
}

#[test]
fn bad_paths_are_refused_and_nothing_is_left() {
    let folder = tempdir().unwrap();
    let base = folder.path();
    fs::create_dir(base.join("dir.png")).unwrap();
    fs::write(base.join("file"), "").unwrap();
    fs::write(base.join("fixed.npy"), "").unwrap();
    let mut permissions = fs::metadata(base.join("fixed.npy")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(base.join("fixed.npy"), permissions).unwrap();
    let cases = [
        ("dir.png", "a folder of that name"),
        ("file", "found a file"),
        ("file/", "found a file"),
        ("file/a.png", "no such folder"),
        ("missing/a.png", "no such folder"),
        ("missing/run/", "no such folder"),
        ("fixed.npy", "a read-only file"),
        ("a.jpeg", "found .jpeg"),
        (".png", "only the extension"),
    ];
    for (path, part) in cases {
        let text = message(Target::open(format!("{}/{path}", base.display()), SHAPE, 1, 1));
        assert!(text.contains(part) && text.contains(path), "{path}: {text}");
    }
    let text = message(Target::open("", SHAPE, 1, 1));
    assert!(text.contains("an empty one"), "{text}");
    let text = message(Target::open(base.join("a.png"), SHAPE, 1_000_000, 1));
    assert!(text.contains("16384 pixels"), "{text}");
    if cfg!(target_os = "linux") {
        let text = message(Target::open("/proc/a.png", SHAPE, 1, 1));
        assert!(text.contains("/proc: cannot write into"), "{text}");
    }
    let text = message(Target::open(base.join("a".repeat(300) + ".npy"), SHAPE, 1, 1));
    assert!(text.contains("cannot use") && text.contains("name another path"), "{text}");
    let text = message(Target::open(base.join("a.npy"), SHAPE, 4, 2));
    assert!(text.contains("one of 2 shards") && text.contains("a folder"), "{text}");
    let text = message(Target::open(base.join("a.safetensors"), [3, 256, 256], 1 << 20, 1));
    assert!(text.contains("gathered in memory") && text.contains(".npy"), "{text}");
    Target::open(base.join("a.npy"), [3, 256, 256], 1 << 20, 1).unwrap();
    Target::open(base.join("good.png"), SHAPE, 1, 1).unwrap();
    Target::open(base.join("new"), SHAPE, 1, 1).unwrap();
    assert_eq!(names(base), ["dir.png", "file", "fixed.npy"], "judging a path leaves nothing");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_special_files_refused() {
    let folder = tempdir().unwrap();
    let (file, link) = (there(&folder, "a.npy"), there(&folder, "link.npy"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let text = message(Target::open(&link, SHAPE, 1, 1));
    assert!(text.contains("a link to what is not there"), "{text}");
    fs::write(&file, "").unwrap();
    save(&link, 1);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::metadata(&file).unwrap().len() > 0, "the file behind the link was written");
    let socket = there(&folder, "socket.npy");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let text = message(Target::open(&socket, SHAPE, 1, 1));
    assert!(text.contains("a pipe, a device or a socket"), "{text}");
}

#[cfg(unix)]
#[test]
fn files_have_the_permissions_of_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let (ours, plain) = (there(&folder, "a.npy"), there(&folder, "plain"));
    save(&ours, 1);
    fs::write(&plain, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}
