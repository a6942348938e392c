//! Names of parameters across versions of diffusers, as a table.

/// Module names now and before, as they end a path.
const OLDER: &[(&str, &str)] =
    &[(".to_q", ".query"), (".to_k", ".key"), (".to_v", ".value"), (".to_out.0", ".proj_attn")];

/// The names under which parameter `name` may be stored, the current one first.
pub(super) fn candidates(name: &str) -> impl Iterator<Item = String> + '_ {
    let older = OLDER.iter().filter_map(move |(now, before)| {
        let (module, parameter) = name.rsplit_once('.')?;
        Some(format!("{}{before}.{parameter}", module.strip_suffix(now)?))
    });
    std::iter::once(name.to_string()).chain(older)
}
