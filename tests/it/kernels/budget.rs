//! `kernels/budget.txt`: what each kernel may need, by architecture.

use super::cubin::{Needs, needs};
use super::variants::{Subject, facts, subjects};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unnoise::backend::cuda::compile::{ARCHITECTURES, Compiler};
use unnoise::backend::source::FACTS;

/// Registers of a processor, which a workgroup must not exceed.
const REGISTERS: u32 = 65536;
/// Registers are given to threads by so many.
const GIVEN: u32 = 8;

const HEAD: &str = "\
# What every CUDA kernel needs, as NVRTC {version} compiles it. `cargo xtask budget` compares,
# `cargo xtask budget --write` writes. A kernel may need fewer registers than this, never more, and
# the very bytes of workgroup memory; what spills is 0. Of products these are kernels of networks,
# of other ops the heaviest of their cases. `-`: not taken on that architecture. Behind the figures
# stand the defines, 1 unless a value is given, and the optional buffers.
";

/// A line: what names it, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    threads: u32,
    shared: u32,
    registers: BTreeMap<u32, u32>,
    spilled: u32,
}

/// What names a line in front, and what it is compiled for.
type Name = (String, String);
pub type Budget = BTreeMap<Name, Line>;

pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/budget.txt")
}

/// The version of NVRTC that a budget is of: the first number with a point in it.
pub fn version(text: &str) -> Option<(i32, i32)> {
    let words = text.split_whitespace().filter_map(|word| word.split_once('.'));
    words.filter_map(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?))).next()
}

/// Compiles every kernel for every architecture that runs it. Says what no budget allows.
pub fn measure(compiler: &Compiler) -> (Budget, Vec<String>) {
    let subjects = subjects();
    let pairs = subjects.iter().flat_map(|s| s.on.iter().map(move |on| (s, *on)));
    let pairs: Vec<(&Subject, u32)> = pairs.collect();
    let of =
        |(subject, on): &(&Subject, u32)| needs(compiler, &subject.variant, &subject.call, *on);
    let found: Vec<_> = pairs.par_iter().map(of).collect();
    let (mut budget, mut wrong) = (Budget::new(), Vec::new());
    for ((subject, on), found) in pairs.into_iter().zip(found) {
        let name = name(subject);
        let what = format!("{} {} for sm_{on}", name.0, name.1);
        match found {
            Ok(needs) => {
                let (line, more) = line(&needs, on);
                wrong.extend(more.into_iter().map(|more| format!("{what}: {more}")));
                add(&mut budget, &mut wrong, name, line);
            }
            Err(error) => wrong.push(format!("{what}: {error}")),
        }
    }
    (budget, wrong)
}

/// Joins what one architecture needs to the line of the others.
fn add(budget: &mut Budget, wrong: &mut Vec<String>, name: Name, line: Line) {
    let Some(known) = budget.get_mut(&name) else {
        budget.insert(name, line);
        return;
    };
    if (known.threads, known.shared) != (line.threads, line.shared) {
        wrong.push(format!("{} {}: {line:?}, but elsewhere {known:?}", name.0, name.1));
    }
    if let Some(on) = line.registers.keys().find(|on| known.registers.contains_key(on)) {
        wrong.push(format!("{} {}: two kernels of one name for sm_{on}", name.0, name.1));
    }
    known.registers.extend(line.registers);
    known.spilled = known.spilled.max(line.spilled);
}

/// What a kernel needs on one architecture, and what is too much there.
fn line(needs: &Needs, on: u32) -> (Line, Vec<String>) {
    let fact = |name: &str| FACTS.iter().position(|fact| *fact == name).map(|i| needs.facts[i]);
    let threads = fact("THREADS").unwrap_or(0);
    let shared = fact("SHARED_BYTES").unwrap_or(0) + needs.fixed;
    let mut wrong = Vec::new();
    let most = facts(on).workgroup_bytes;
    if shared > most {
        wrong.push(format!("{shared} bytes of workgroup memory of {most}"));
    }
    let registers = threads * needs.registers.next_multiple_of(GIVEN);
    if threads == 0 || registers > REGISTERS {
        wrong.push(format!("{registers} registers of {REGISTERS} for {threads} threads"));
    }
    if needs.spilled > 0 {
        wrong.push(format!("{} bytes in memory for want of registers", needs.spilled));
    }
    let registers = BTreeMap::from([(on, needs.registers)]);
    (Line { threads, shared, registers, spilled: needs.spilled }, wrong)
}

/// Defines that others imply.
const IMPLIED: [&str; 4] = ["MMA_80", "NORM", "OWN_SCRATCH", "WIDE_HEAD"];

fn name(subject: &Subject) -> Name {
    let Subject { variant, call, storage, .. } = subject;
    let tile = variant.tile.map_or("-".to_string(), |tile| tile.to_string().replace(" / ", "/"));
    let front = format!("{} {} {tile}", variant.op, storage.name());
    let telling = variant.defines.iter().filter(|(name, _)| !IMPLIED.contains(name));
    let defines = telling.map(|(name, value)| match value {
        1 => name.to_string(),
        value => format!("{name}={value}"),
    });
    let bound = variant.bound(call.args()).filter(|(arg, _)| arg.optional);
    let bound = bound.map(|(arg, _)| arg.name.to_string());
    (front, defines.chain(bound).collect::<Vec<_>>().join(" "))
}

/// One line of the file.
pub fn shown((front, behind): &Name, line: &Line) -> String {
    let of = |on: u32| line.registers.get(&on).map_or("-".to_string(), u32::to_string);
    let registers = ARCHITECTURES.map(|on| format!("{:>4}", of(on))).concat();
    let Line { threads, shared, spilled, .. } = line;
    format!("{front:<28}{threads:>8}{shared:>8} {registers}{spilled:>8}  {behind}")
        .trim_end()
        .into()
}

/// The whole file.
pub fn written(budget: &Budget, (major, minor): (i32, i32)) -> String {
    let mut text = HEAD.replace("{version}", &format!("{major}.{minor}"));
    let columns = ARCHITECTURES.map(|on| format!("{on:>4}")).concat();
    text += &format!("#{:>35}{:>8} {columns}{:>8}\n", "threads", "shared", "spilled");
    budget.iter().for_each(|(name, line)| text += &(shown(name, line) + "\n"));
    text
}

/// What a file says.
pub fn parsed(text: &str) -> Result<Budget, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| one(line).ok_or_else(|| format!("not a line of a budget: {line}"))).collect()
}

fn one(line: &str) -> Option<(Name, Line)> {
    let mut words = line.split_whitespace().peekable();
    // A tile is one word or two: `-`, `mma 64x32/2`.
    let mut front: Vec<&str> = words.by_ref().take(3).collect();
    if front.last() != Some(&"-") {
        front.push(words.next()?);
    }
    let mut number = || words.next()?.parse::<u32>().ok();
    let (threads, shared) = (number()?, number()?);
    let mut registers = BTreeMap::new();
    for on in ARCHITECTURES {
        let word = words.next()?;
        if word != "-" {
            registers.insert(on, word.parse().ok()?);
        }
    }
    let spilled = words.next()?.parse().ok()?;
    let behind = words.collect::<Vec<_>>().join(" ");
    Some(((front.join(" "), behind), Line { threads, shared, registers, spilled }))
}

/// What of `found` the file does not allow, with the line to put into it.
pub fn compared(allowed: &Budget, found: &Budget, of_version: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, line) in found {
        let says = |what: &str| format!("{what}; to be put into it:\n{}", shown(name, line));
        let Some(known) = allowed.get(name) else {
            wrong.push(says("not in the budget"));
            continue;
        };
        let more = |(on, n): (&u32, &u32)| known.registers.get(on).is_none_or(|most| n > most);
        let same = line.registers.keys().eq(known.registers.keys());
        if (known.threads, known.shared) != (line.threads, line.shared) {
            wrong.push(says("other threads or workgroup memory than in the budget"));
        } else if !same || of_version && line.registers.iter().any(more) {
            wrong.push(says("more registers than in the budget, or other architectures"));
        } else if known.spilled > 0 {
            wrong.push(says("the budget allows spills"));
        }
    }
    let lost = allowed.iter().filter(|(name, _)| !found.contains_key(*name));
    wrong.extend(lost.map(|(name, line)| {
        format!("no kernel needs this line of the budget:\n{}", shown(name, line))
    }));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: &str = "add f16 - 256 0 19 18 18 18 18 18 20 0 VEC4";
    const CONV: &str =
        "conv2d f16 mma 64x32/2 256 47904 - 91 91 91 101 112 114 0 VEC4 KERNEL=3 skip";

    /// What is said where `allowed` is the file and `found` is what kernels need.
    fn said(allowed: &[&str], found: &[&str]) -> Vec<String> {
        let of = |lines: &[&str]| parsed(&lines.join("\n")).unwrap();
        compared(&of(allowed), &of(found), true)
    }

    /// That one thing is said, with these words and this line.
    fn says(allowed: &[&str], found: &[&str], words: &str, line: &str) {
        let wrong = said(allowed, found);
        let [one] = &wrong[..] else { panic!("{wrong:?}") };
        let (what, shown) = one.split_once('\n').unwrap();
        assert!(what.contains(words), "{what}");
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>().join(" "), line);
    }

    #[test]
    fn what_is_written_is_read() {
        let budget = parsed(&[ADD, CONV].join("\n")).unwrap();
        let text = written(&budget, (13, 0));
        assert_eq!(parsed(&text), Ok(budget));
        assert_eq!(version(&text), Some((13, 0)));
        for line in ["add f16", "add f16 - 256 0 19 18", "add f16 - 256 0 19 18 18 18 18 x 20 0"] {
            assert_eq!(parsed(line), Err(format!("not a line of a budget: {line}")));
        }
    }

    #[test]
    fn a_kernel_may_need_less_but_nothing_else() {
        let both = [ADD, CONV];
        assert_eq!(said(&both, &both), Vec::<String>::new());
        let less = CONV.replace(" 101 ", " 80 ");
        assert_eq!(said(&both, &[ADD, &less]), Vec::<String>::new());
        let more = CONV.replace(" 101 ", " 102 ");
        says(&both, &[ADD, &more], "more registers", &more);
        let newer = compared(&parsed(CONV).unwrap(), &parsed(&more).unwrap(), false);
        assert_eq!(newer, Vec::<String>::new(), "registers of another compiler");
        let other = CONV.replace("47904", "47900");
        says(&both, &[ADD, &other], "other threads or workgroup memory", &other);
        let fewer = CONV.replace(" 114 ", " - ");
        says(&both, &[ADD, &fewer], "other architectures", &fewer);
        let more = CONV.replace(" - ", " 91 ");
        says(&both, &[ADD, &more], "other architectures", &more);
        let spilled = ADD.replace(" 0 VEC4", " 8 VEC4");
        says(&[&spilled, CONV], &both, "allows spills", ADD);
    }

    #[test]
    fn lines_are_neither_lost_nor_left() {
        says(&[ADD], &[ADD, CONV], "not in the budget", CONV);
        says(&[ADD, CONV], &[ADD], "no kernel needs this line", CONV);
    }

    #[test]
    fn what_no_processor_has_is_no_budget() {
        let needs = |registers, spilled, shared| {
            let facts = [256, shared, 64, 32, 8, 8, 1, 4].to_vec();
            Needs { registers, spilled, fixed: 16, facts }
        };
        let wrong = |needs, on| line(&needs, on).1.join("; ");
        assert_eq!(wrong(needs(255, 0, 65520), 75), "");
        assert_eq!(wrong(needs(64, 0, 65521), 75), "65537 bytes of workgroup memory of 65536");
        assert_eq!(wrong(needs(64, 0, 65521), 80), "");
        assert_eq!(wrong(needs(257, 0, 0), 90), "67584 registers of 65536 for 256 threads");
        assert_eq!(wrong(needs(64, 8, 0), 90), "8 bytes in memory for want of registers");
    }
}
