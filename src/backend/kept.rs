//! Files of the cache folder that are only used whole: a magic word, the hash of the rest, the
//! rest.

use xxhash_rust::xxh3::xxh3_128;

/// What a file of ours starts with; the hash of the rest follows.
const MAGIC: &[u8; 8] = b"unnoise1";
const HEADER: usize = MAGIC.len() + size_of::<u128>();

/// The bytes of a file that holds `data`.
pub(super) fn framed(data: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &xxh3_128(data).to_le_bytes(), data].concat()
}

/// What a file holds, if it is whole.
pub(super) fn content(file: &[u8]) -> Option<&[u8]> {
    let (header, data) = file.split_at_checked(HEADER)?;
    (header == &framed(data)[..HEADER]).then_some(data)
}
