//! A browser without a window: what a page is after its scripts have run.

use super::device::{note_ignored, required};
use image::RgbImage;
use serde_json::Value;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// Names under which a browser with these options may be found.
const NAMES: [&str; 4] = ["chromium", "google-chrome", "chromium-browser", "google-chrome-stable"];

/// How long a page may take before its browser is ended.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser of the Chromium family.
pub struct Browser(String);

/// How a page is looked at.
#[derive(Clone, Copy)]
pub struct View {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

/// What was seen of a page.
pub struct Seen {
    /// What the probe found.
    pub found: Value,
    pub picture: RgbImage,
}

impl Browser {
    /// The browser that `UNNOISE_BROWSER` names, or one on the path. Without one: `None`, said on
    /// stderr; a failure if `UNNOISE_REQUIRE` names browser.
    pub fn find() -> Option<Browser> {
        static FOUND: OnceLock<Option<String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let named = env::var("UNNOISE_BROWSER").ok().filter(|named| !named.is_empty());
            let names = named.map_or(NAMES.map(String::from).to_vec(), |named| vec![named]);
            names.into_iter().find(|name| starts(name))
        });
        if found.is_none() {
            let none = "no browser: install chromium, or name one in UNNOISE_BROWSER";
            assert!(!required("browser"), "UNNOISE_REQUIRE asks for browser: {none}");
            note_ignored(none);
        }
        found.clone().map(Browser)
    }

    /// Looks at a copy of `page` with a script more, `probe`, which gives what it finds to the
    /// function `found`. Panics if a script failed or was refused.
    pub fn look(&self, page: &str, probe: &str, view: View) -> Seen {
        let folder = tempdir().unwrap();
        let (file, picture) = (folder.path().join("page.html"), folder.path().join("seen.png"));
        let script = format!(
            "<script id=\"probe\">const found = (value) => {{ \
             document.documentElement.dataset.found = JSON.stringify(value); }};\n{probe}</script>"
        );
        let (before, after) = page.rsplit_once("</body>").expect("a page has a body");
        fs::write(&file, format!("{before}{script}</body>{after}")).unwrap();
        let mut command = self.command(folder.path(), view);
        command.arg(format!("--screenshot={}", picture.display()));
        command.arg(format!("file://{}", file.display()));
        let (dom, log) = run(&mut command, folder.path());
        assert!(!log.contains("Uncaught") && !log.contains("Refused to"), "{log}");
        assert_eq!(attribute(&dom, "data-errors").as_deref(), Some(""), "a script failed");
        let found = attribute(&dom, "data-found").expect("the probe ran");
        Seen {
            found: serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {found}")),
            picture: image::open(&picture).expect("the screenshot decodes").to_rgb8(),
        }
    }

    fn command(&self, folder: &Path, view: View) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
        command.args([
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--force-device-scale-factor=1",
        ]);
        command.args(["--virtual-time-budget=5000", "--enable-logging=stderr", "--v=0"]);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.arg(format!("--window-size={},{}", view.width, view.height));
        command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!view.dark)));
        command.arg("--dump-dom").env("HOME", folder).current_dir(folder);
        command
    }
}

/// Whether a browser is there and not only a file that tells how to get one.
fn starts(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What a browser wrote on its two streams.
fn run(command: &mut Command, folder: &Path) -> (String, String) {
    /// One at a time: each takes as much memory as it can.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|failed| failed.into_inner());
    let [out, err] = ["out", "err"].map(|name| folder.join(name));
    let stream = |path: &Path| Stdio::from(fs::File::create(path).unwrap());
    command.stdin(Stdio::null()).stdout(stream(&out)).stderr(stream(&err));
    let mut browser = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let start = Instant::now();
    let status = loop {
        match browser.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            None => {
                browser.kill().unwrap();
                browser.wait().unwrap();
                panic!("{command:?} did not end\n{}", fs::read_to_string(&err).unwrap());
            }
        }
    };
    let [out, err] =
        [out, err].map(|p| String::from_utf8_lossy(&fs::read(p).unwrap()).into_owned());
    assert!(status.success(), "{command:?}: {status}\n{err}");
    (out, err)
}

/// An attribute of the root of a document.
fn attribute(dom: &str, name: &str) -> Option<String> {
    let root = &dom[dom.find("<html")?..];
    let (_, value) = root.split_once(&format!(" {name}=\""))?;
    let (value, _) = value.split_once('"')?;
    let unescaped = value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    Some(unescaped.replace("&nbsp;", "\u{a0}").replace("&amp;", "&"))
}
