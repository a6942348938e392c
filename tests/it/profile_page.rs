//! The page of a profile, looked at in a browser.

use super::browser::{Browser, Seen, View};
use super::profile_example::{HOSTILE, about, example, hostile};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tempfile::tempdir;
use unnoise::backend::timeline::Clock;
use unnoise::profile::{self, By, Launch, Profile};

/// What a probe counts on a page.
const LOOK: &str = "
    const all = (wanted) => [...document.querySelectorAll(wanted)];
    const texts = (wanted) => all(wanted).map((node) => node.textContent);
    const look = () => ({
      launches: all('.launch').length, dots: all('.dot').length, host: all('.host').length,
      rings: all('.dot.launch-bound').length, roofs: all('.roof').length,
      bars: texts('.bar > :first-child'), values: texts('.bar > :last-child'),
      rows: all('tbody tr').map((row) => [...row.cells].map((cell) => cell.textContent)),
      warnings: texts('.warning'), about: texts('#about dd'), detail: texts('.detail'),
      notes: texts('.note'), matched: texts('#matched')[0], overview: all('.overview').length,
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      cut: all('svg text').filter((node) => {
        const [box, chart] = [node.getBoundingClientRect(),
          node.closest('svg').getBoundingClientRect()];
        return box.left < chart.left - 2 || box.right > chart.right + 2
          || box.top < chart.top - 2 || box.bottom > chart.bottom + 2;
      }).map((node) => node.textContent),
      sections: all('header, section').map((node) => {
        const box = node.getBoundingClientRect();
        return [node.id, box.left, box.top, box.right, box.bottom];
      }),
    });
    const choose = (id, value) => {
      const node = document.getElementById(id);
      node.value = value;
      node.dispatchEvent(new Event(node.type === 'search' ? 'input' : 'change', {bubbles: true}));
    };
    const sortBy = (name) => all('th button').find((b) => b.textContent === name).click();
";

const WIDE: View = View { width: 1280, height: 3400, dark: false };
const NARROW: View = View { width: 800, height: 4600, dark: true };

/// Looks at the page of `profile`; `more` is the end of the probe.
fn look(browser: &Browser, profile: &Profile, more: &str, view: View) -> Seen {
    browser.look(&profile::page(profile, &about()), &format!("{LOOK}{more}"), view)
}

fn count(found: &Value) -> usize {
    found.as_u64().unwrap_or_else(|| found.as_array().map_or(0, Vec::len) as u64) as usize
}

/// Launches of each kernel and layer.
fn parts(launches: &[Launch]) -> BTreeMap<(&str, &str), usize> {
    let mut parts = BTreeMap::new();
    for launch in launches {
        *parts.entry((launch.kernel, launch.layer.as_str())).or_default() += 1;
    }
    parts
}

/// The page fits its window, nothing in a chart is cut off, and every section has been drawn.
fn assert_drawn(seen: &Seen) {
    assert_eq!(seen.found["wide"], 0, "wider than the window");
    assert_eq!(seen.found["cut"], json!([]), "text outside of its chart");
    let sections = seen.found["sections"].as_array().unwrap();
    assert_eq!(sections.len(), 6);
    for section in sections {
        let at = |i: usize| section[i].as_f64().unwrap() as u32;
        let inside = at(3) <= seen.picture.width() && at(4) <= seen.picture.height();
        assert!(inside && at(3) > at(1) + 300 && at(4) > at(2) + 40, "{section}");
        let mut colours = BTreeMap::new();
        for (x, y) in (at(2)..at(4)).flat_map(|y| (at(1)..at(3)).map(move |x| (x, y))) {
            *colours.entry(seen.picture.get_pixel(x, y).0).or_insert(0usize) += 1;
        }
        let most = *colours.values().max().unwrap();
        let pixels: usize = colours.values().sum();
        assert!(colours.len() > 20 && most < pixels, "{section}: {} colours", colours.len());
    }
}

#[test]
fn a_page_shows_a_profile() {
    let Some(browser) = Browser::find() else { return };
    let profile = example(2, 11);
    let seen = look(&browser, &profile, "found(look())", WIDE);
    let found = &seen.found;
    assert_drawn(&seen);
    // The middle one of what runs once and two steps is shown first.
    assert_eq!((count(&found["launches"]), count(&found["overview"])), (11, 3));
    assert!(count(&found["host"]) > 0, "the clocks are related to 2 us");
    let parts = parts(&profile.launches);
    assert_eq!(count(&found["rows"]), parts.len());
    let shown = parts.keys().filter(|(kernel, _)| *kernel != "time_embedding").count();
    assert_eq!(count(&found["dots"]), shown, "all but the one without operations");
    assert!((1..shown).contains(&count(&found["rings"])));
    assert_eq!(count(&found["roofs"]), 2, "one of f16 and memory, one of f32");
    assert_eq!(found["warnings"], json!([]));
    assert_eq!(found["about"][0], "google/ddpm-cifar10-32");
    // The script adds up as the library does.
    let layers = profile.by(By::Layer);
    let names: Vec<&str> = layers.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(found["bars"], json!(names));
    for (value, group) in found["values"].as_array().unwrap().iter().zip(&layers) {
        let value = value.as_str().unwrap();
        let share: f64 = value.split(" · ").nth(1).unwrap().trim_end_matches(" %").parse().unwrap();
        assert!((share / 100.0 / group.share - 1.0).abs() < 0.01, "{value}: {group:?}");
        assert!(value.ends_with(&format!("{}×", group.cost.calls)), "{value}: {group:?}");
    }
    let shown = found["rows"].as_array().unwrap();
    let costliest = profile.rows().into_iter().map(|row| row.cost.us).fold(0.0, f64::max);
    let number = |row: &Value, i: usize| -> f64 {
        row[i].as_str().unwrap().replace([',', '%', ' '], "").parse().unwrap()
    };
    assert!(number(&shown[0], 4) >= costliest.floor(), "{}", shown[0]);
    assert!(shown.windows(2).all(|pair| number(&pair[0], 4) >= number(&pair[1], 4)));
    let sum: f64 = shown.iter().map(|row| number(row, 5)).sum();
    assert!((sum - 100.0).abs() < 1.0, "shares of {sum} %");
}

#[test]
fn a_page_answers_to_its_reader() {
    let Some(browser) = Browser::find() else { return };
    let profile = example(4, 40);
    let more = "
        const seen = {first: look()};
        choose('step', '0'); seen.once = look();
        document.getElementById('next').click(); seen.next = look();
        document.querySelector('input[value=step]').click(); seen.step = look();
        document.querySelector('input[value=run]').click();
        choose('by', 'kernel'); seen.kernel = look();
        choose('by', 'step'); seen.rows = look();
        choose('by', 'layer'); choose('top', '10'); seen.ten = look();
        choose('zoom', '4'); seen.zoomed = look();
        sortBy('layer'); seen.layers = look();
        sortBy('layer'); seen.reversed = look();
        choose('filter', 'CONV2D up_blocks'); seen.filtered = look();
        choose('filter', 'nothing of that name'); seen.empty = look();
        const blocks = all('.launch');
        blocks[0].focus();
        blocks[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));
        seen.focused = [blocks.indexOf(document.activeElement), look().detail[0]];
        seen.tabs = all('.launch[tabindex=\"0\"]').length;
        found(seen);";
    let seen = look(&browser, &profile, more, WIDE);
    let at = |step: &str, key: &str| count(&seen.found[step][key]);
    let launches = |step: Option<usize>| -> Vec<Launch> {
        profile.launches.iter().filter(|launch| launch.step == step).cloned().collect()
    };
    assert_eq!((at("once", "launches"), at("next", "launches")), (3, 40));
    assert_eq!(at("next", "rows"), parts(&profile.launches).len(), "the whole run");
    assert_eq!(at("step", "rows"), parts(&launches(Some(0))).len(), "one step");
    let names = |by| profile.by(by).into_iter().map(|group| group.name).collect::<Vec<_>>();
    assert_eq!(seen.found["kernel"]["bars"], json!(names(By::Kernel)));
    assert_eq!(seen.found["rows"]["bars"], json!(names(By::Step)));
    assert_eq!(at("ten", "bars"), 10);
    for step in ["zoomed", "layers", "empty"] {
        assert_eq!(seen.found[step]["wide"], 0, "{step}");
        assert_eq!(seen.found[step]["cut"], json!([]), "{step}");
    }
    let layers = |step: &str| -> Vec<&str> {
        let rows = seen.found[step]["rows"].as_array().unwrap();
        rows.iter().map(|row| row[1].as_str().unwrap()).collect()
    };
    assert!(layers("layers").is_sorted());
    assert!(layers("reversed").iter().rev().is_sorted());
    let wanted = parts(&profile.launches);
    let wanted = wanted.keys().filter(|(k, l)| *k == "conv2d" && l.starts_with("up_blocks"));
    assert_eq!(at("filtered", "rows"), wanted.count());
    assert_eq!(at("empty", "rows"), 0);
    assert_eq!(seen.found["focused"][0], 1);
    let detail = seen.found["focused"][1].as_str().unwrap();
    assert!(detail.starts_with("2 of 40 · conv2d · tiled 64x64 · down_blocks."), "{detail}");
    assert_eq!(seen.found["tabs"], 1);
}

#[test]
fn a_page_shows_any_name_and_runs_none() {
    let Some(browser) = Browser::find() else { return };
    let profile = hostile();
    let page = profile::page(&profile, &about());
    assert_eq!(page.matches("</script>").count(), 3, "a name ends no script");
    let more = "found({...look(), ran: document.querySelectorAll('img').length});";
    let seen = look(&browser, &profile, more, NARROW);
    assert_drawn(&seen);
    assert_eq!(seen.found["ran"], 0);
    let rows = seen.found["rows"].as_array().unwrap();
    for name in HOSTILE {
        assert!(rows.iter().any(|row| row[1] == name && row[2] == name), "{name}");
    }
    assert!(rows.iter().any(|row| row[0] == HOSTILE[1]));
}

#[test]
fn a_page_warns_of_times_that_are_not_to_be_trusted() {
    let Some(browser) = Browser::find() else { return };
    let mut profile = example(2, 40);
    profile.unprofiled_us = profile.profiled_us / 1.25;
    profile.clock = Clock::InsidePasses;
    profile.offset_us = [0.0, 1e6];
    profile.peak = None;
    profile.launches.iter_mut().for_each(|launch| launch.floor = None);
    let seen = look(&browser, &profile, "found(look())", NARROW);
    assert_drawn(&seen);
    let warnings = seen.found["warnings"].as_array().unwrap();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.as_str().unwrap().contains("25.0 % longer"), "{warning}");
    assert_eq!(count(&seen.found["host"]), 0, "the clocks are not related");
    assert_eq!(count(&seen.found["roofs"]), 0);
    assert_eq!(count(&seen.found["rings"]), 0);
    let notes = seen.found["notes"].to_string();
    assert!(notes.contains("unnoise devices --measure"), "{notes}");
    assert!(notes.contains("begins where the one before it ends"), "{notes}");
    assert!(notes.contains("no better than 1.00 s"), "{notes}");
    // Dark is dark.
    assert!(seen.picture.get_pixel(2, 2).0.iter().all(|channel| *channel < 60));

    profile.unprofiled_us = 0.0;
    let seen = look(&browser, &profile, "found(look())", WIDE);
    assert!(seen.found["warnings"][0].as_str().unwrap().contains("not known"));
    assert!(seen.picture.get_pixel(2, 2).0.iter().all(|channel| *channel > 200));
}

#[test]
fn a_page_of_a_thousand_steps_is_small_and_quick() {
    let fifty = profile::page(&example(50, 64), &about());
    let thousand = profile::page(&example(1000, 64), &about());
    assert!(fifty.len() < 150 << 10, "{} bytes", fifty.len());
    assert!(thousand.len() < 2 << 20, "{} bytes", thousand.len());
    let Some(browser) = Browser::find() else { return };
    let more = "
        const start = performance.now();
        document.getElementById('next').click();
        found({...look(), ms: performance.now() - start});";
    let seen = browser.look(&thousand, &format!("{LOOK}{more}"), WIDE);
    let rows = (count(&seen.found["overview"]), count(&seen.found["launches"]));
    assert_eq!(rows, (1001, 64));
    let ms = seen.found["ms"].as_f64().unwrap();
    assert!(ms < 5e3, "{ms} ms to show another step");
}

#[test]
fn a_page_asks_the_network_for_nothing_and_is_written_whole() {
    let page = profile::page(&example(2, 11), &about());
    assert!(page.contains("default-src 'none'"));
    for remote in ["src=\"http", "href=", "@import", "url(", "fetch(", "import("] {
        assert!(!page.contains(remote), "{remote}");
    }
    let http: Vec<&str> = page.match_indices("http").map(|(i, _)| &page[i..i + 26]).collect();
    assert!(
        http.iter().all(|found| *found == "http://www.w3.org/2000/svg"
            || *found == "http-equiv=\"Content-Securi"),
        "{http:?}"
    );
    let folder = tempdir().unwrap();
    let path = folder.path().join("page.html");
    profile::write(&path, &page).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), page);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = profile::write(&folder.path().join("no/page.html"), &page).unwrap_err();
    assert_eq!(nowhere.exit_code(), 1);
}
